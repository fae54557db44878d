//! What the tests of the whole share: the real host as a process, and jobs made of text.
//!
//! Nothing here stands in for a part of the host: a test starts the binary, speaks HTTP to it and kills
//! it with SIGKILL.

pub mod cli;
pub mod example;
pub mod guests;
pub mod host;
pub mod object_server;
pub mod oracle;
pub mod service;
pub mod skip;
pub mod text;
pub mod wait;
