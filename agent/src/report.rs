//! What the agent tells of itself: health, metrics, Events.

pub mod event;
pub mod health;
pub mod http;
pub mod metrics;
