//! How the relay ends: as the worker did, so that the application sees the same.

use mafalda_link::Exit;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Ignores the signals that mediasoup's worker ignores. Needs a runtime around it.
pub fn ignore_signals() {
    for kind in [
        SignalKind::hangup(),
        SignalKind::alarm(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
    ] {
        // The first listener takes the default action away for good.
        let _ = signal(kind);
    }
}

/// Ends this process with the worker's status or by its signal.
pub fn as_worker(exit: Exit) -> ! {
    match exit {
        Exit::Code(code) => std::process::exit(code),
        Exit::Signal(number) => {
            // The core file of interest is the worker's.
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            let _ = setrlimit(Resource::Core, none);
            let _ = signal_hook::low_level::emulate_default_handler(number);
            std::process::exit(128 + number)
        }
    }
}
