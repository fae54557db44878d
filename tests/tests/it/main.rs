//! Tests of the whole: the real binary, real components, real files.

mod hostile;
mod kill;
mod languages;
