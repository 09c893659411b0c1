//! `/proc/pressure/*` where the container has no pressure file of its own (cgroup v1, or a
//! kernel without PSI for cgroups): no pressure rather than the host's.
//!
//! Source: Documentation/accounting/psi.rst.

/// `cpu`, `io` and `memory` without any pressure.
pub const fn no_pressure() -> &'static [u8] {
    b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
}

/// `irq` without any pressure; it has no `some` line.
pub const fn no_pressure_irq() -> &'static [u8] {
    b"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
}
