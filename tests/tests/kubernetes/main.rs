//! The whole product on a real cluster, of the images and manifests that ship: agent and webhook are
//! installed as users do, and pods say what they see. Both nodes, both runtimes.

mod absent;
mod applications;
mod awkward;
mod helm;
mod lacking;
mod product;
mod webhook;
