use super::*;
use crate::config::tests::sample;

fn connection(session: Attendance) -> Connection {
    Connection {
        key: String::new(),
        sockets: mpsc::channel(1).0,
        place: Place::Virtual(VirtualId(1)),
        peer: String::new(),
        application_pid: 1,
        mediasoup: String::new(),
        connected: true,
        handed_over: false,
        since: SystemTime::UNIX_EPOCH,
        inventory: Arc::default(),
        session: Some(Arc::new(session)),
        ended: false,
    }
}

/// Protects sessions from a second home: a client that was let in before its session ended, and says
/// hello after, gets nothing of it.
#[test]
fn a_session_that_has_ended_takes_no_connection() {
    let pod = Pod::new(sample());
    let put = |generation| {
        let wanted = Wanted {
            generation,
            max_connections: None,
            max_participants: None,
        };
        pod.put_session("call", wanted)
    };
    let connections = || pod.session("call").map(|session| session.connections);
    assert_eq!(put(1), Ok(true));
    let [first, second, third] = [(); 3].map(|()| pod.attend("call", None).unwrap());
    assert!(first.is_valid());
    assert_eq!(pod.add_connection("first", connection(first)), Ok(()));

    pod.delete_session("call", None).unwrap();
    assert!(!second.is_valid());
    let refused = Err(SessionError::Unknown);
    assert_eq!(pod.add_connection("second", connection(second)), refused);
    // Another of the same name is not the same.
    assert_eq!(put(2), Ok(true));
    assert_eq!(pod.add_connection("third", connection(third)), refused);
    assert!(!pod.has_connection("second") && !pod.has_connection("third"));
    assert_eq!(connections(), Some(0));
    let next = pod.attend("call", Some(2)).unwrap();
    assert_eq!(pod.add_connection("next", connection(next)), Ok(()));
    assert_eq!(connections(), Some(1));
}

/// Protects SIGTERM from clients that were refused: the pod would wait for them.
#[test]
fn who_is_refused_leaves_no_trace() {
    let pod = Pod::new(sample());
    let reserve = |limit| pod.reserve("client", Some(limit), Mode::Virtual, None);
    assert_eq!(reserve(0).err().unwrap().code, "tooManyWorkers");
    assert!(pod.is_unused());
    let one = reserve(1).unwrap();
    assert_eq!(reserve(1).err().unwrap().code, "tooManyWorkers");
    assert!(!pod.is_unused());
    drop(one);
    assert!(pod.is_unused());
}
