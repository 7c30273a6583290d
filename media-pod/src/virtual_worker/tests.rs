use super::*;
use crate::ListenInfos;
use crate::config::tests::sample;
use crate::connection::virtual_config;
use mafalda_channel::encode_notification;
use mafalda_channel::fbs::notification::Notification;

/// About a megabyte.
fn event() -> Bytes {
    encode_notification(&Notification {
        handler_id: "c".repeat(1_000_000),
        event: Event::ConsumerScore,
        body: None,
    })
}

/// Protects the pod and its members from an application that is stopped while its relay lives.
#[tokio::test]
async fn an_application_that_reads_nothing_is_dropped_with_all_it_had() {
    let pod = Pod::new(sample());
    let group = pod.members().clone();
    let id = pod.next_virtual_id();
    let config = virtual_config(&pod, ListenInfos::Pod, id.name(), 1, true);
    let application = Application::Frames(FrameQueue::default());
    let shell = Shell::new(id, None, pod, group, config, application);
    let exit = shell.exit();
    let event = event();
    // More than an application may leave.
    for _ in 0..100 {
        let told = shell.tell(&mut shell.core(), std::slice::from_ref(&event));
        told.unwrap();
    }
    assert_eq!(*exit.borrow(), Some(Exit::Code(1)));
    // Nothing is kept for it, and nothing of members reaches it any more.
    let next = timeout(Duration::from_millis(10), shell.application().next());
    assert!(next.await.is_err());
    shell.close();
    assert_eq!(*exit.borrow(), Some(Exit::Code(1)), "why it ended stays");
    let next = timeout(Duration::from_millis(10), shell.application().next());
    assert!(next.await.is_err());
}
