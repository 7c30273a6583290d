//! The real worker program, on real file descriptors and with real C++.

mod program;
mod standby;
mod start;
