//! The host: command line, configuration, HTTP, and the jobs and plugins of a data directory.
//!
//! | module | holds |
//! |---|---|
//! | [`job`] | job files, down to the logical graph |
//! | [`config`] | the host's settings |
//! | [`host`] | jobs and plugins of a data directory, whoever asks for them |
//! | [`offline`] | state without a job: `wasmill state …` |
//! | [`rest`] | HTTP |
//! | [`requests`] | what async functions ask for over HTTP |
//! | [`cli`], [`logging`] | the command line |

pub mod cli;
pub mod config;
pub mod host;
pub mod job;
pub mod logging;
pub mod offline;
pub mod requests;
pub mod rest;
