//! The webhook behind a real API server.

mod case;

mod certificates;
mod down;
mod pods;
