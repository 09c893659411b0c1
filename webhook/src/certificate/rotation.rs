//! What the replicas' Secret should hold: a pure function of what it holds and the time.
//!
//! ```text
//! time ->   CA 1 signs | CA 2 is trusted too | CA 2 signs, CA 1 is still trusted | CA 2 alone
//! ca        CA 1       | CA 1                | CA 2                              | CA 2
//! next                 | CA 2                |                                   |
//! previous             |                     | CA 1                              |
//! ```
//! Each step lasts for at least `settle`, in which all API servers get the new `caBundle` and all
//! replicas the new certificate; so there is no moment at which one does not trust the other.

use time::{Duration, OffsetDateTime};

use super::authority::{AuthorityError, KeyedCertificate, life};

/// What the Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The CA that signs.
    pub ca: KeyedCertificate,
    /// The CA that will sign.
    pub next: Option<KeyedCertificate>,
    /// The certificate of the CA that signed before.
    pub previous: Option<String>,
    /// The server's certificate.
    pub leaf: KeyedCertificate,
}

/// For which names and how long certificates are made.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// DNS names of the server.
    pub names: Vec<String>,
    pub certificate_lifetime: Duration,
    pub ca_lifetime: Duration,
    /// How long each step of an exchange of CAs lasts.
    pub settle: Duration,
}

impl State {
    /// Whether all of it can be read, and keys fit their certificates.
    pub fn is_usable(&self) -> bool {
        let mut keyed = [&self.ca, &self.leaf].into_iter().chain(&self.next);
        keyed.all(KeyedCertificate::is_usable)
            && self.previous.iter().all(|previous| life(previous).is_ok())
    }

    /// The certificates that an API server has to trust, in one text.
    pub fn trust(&self) -> String {
        let mut bundle = self.ca.cert.clone();
        bundle.extend(self.next.iter().map(|next| next.cert.as_str()));
        bundle.extend(self.previous.as_deref());
        bundle
    }
}

impl Rotation {
    /// What the Secret should hold now. Equal to `state` if that is good.
    ///
    /// # Errors
    /// If a certificate of `state` cannot be read, or none can be made.
    pub fn advance(
        &self,
        state: Option<&State>,
        now: OffsetDateTime,
    ) -> Result<State, AuthorityError> {
        let Some(state) = state else {
            return self.begin(now);
        };
        let mut state = state.clone();
        let ca = life(&state.ca.cert)?;
        if ca.expiry <= now {
            // Nobody can trust this one any more, there is nothing to be gone through step by step.
            return self.begin(now);
        }
        if let Some(next) = state
            .next
            .take_if(|next| is_past(&next.cert, self.settle, now))
        {
            state.leaf = next.issue(&self.names, now, self.certificate_lifetime)?;
            state.previous = Some(std::mem::replace(&mut state.ca, next).cert);
        } else if state.next.is_none() && now >= self.ca_renewal(&state)? {
            state.next = Some(KeyedCertificate::new_ca(now, self.ca_lifetime)?);
        }
        if !state.leaf.is_for(&self.names, &state.ca) || now >= life(&state.leaf.cert)?.renewal() {
            state.leaf = state
                .ca
                .issue(&self.names, now, self.certificate_lifetime)?;
        }
        let settled = is_past(&state.leaf.cert, self.settle, now);
        state.previous.take_if(|_| settled);
        Ok(state)
    }

    /// When [`Rotation::advance`] will have something to do next.
    ///
    /// # Errors
    /// If a certificate of `state` cannot be read.
    pub fn next_step(&self, state: &State) -> Result<OffsetDateTime, AuthorityError> {
        let leaf = life(&state.leaf.cert)?;
        let mut step = leaf.renewal();
        step = step.min(match &state.next {
            Some(next) => life(&next.cert)?.made + self.settle,
            None => self.ca_renewal(state)?,
        });
        if state.previous.is_some() {
            step = step.min(leaf.made + self.settle);
        }
        Ok(step)
    }

    fn begin(&self, now: OffsetDateTime) -> Result<State, AuthorityError> {
        let ca = KeyedCertificate::new_ca(now, self.ca_lifetime)?;
        let leaf = ca.issue(&self.names, now, self.certificate_lifetime)?;
        Ok(State {
            ca,
            next: None,
            previous: None,
            leaf,
        })
    }

    /// A CA is renewed early enough for a whole certificate to be signed by it until then.
    fn ca_renewal(&self, state: &State) -> Result<OffsetDateTime, AuthorityError> {
        let ca = life(&state.ca.cert)?;
        let last = ca.expiry - self.certificate_lifetime - self.settle;
        Ok(ca.renewal().min(last.max(ca.made)))
    }
}

/// Whether a certificate was made `settle` ago or before.
fn is_past(cert: &str, settle: Duration, now: OffsetDateTime) -> bool {
    life(cert).is_ok_and(|life| now >= life.made + settle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn rotation() -> Rotation {
        Rotation {
            names: vec!["procview-webhook.procview.svc".to_owned()],
            certificate_lifetime: Duration::days(90),
            ca_lifetime: Duration::days(365),
            settle: Duration::minutes(10),
        }
    }

    #[test]
    fn a_good_state_stays() {
        let rotation = rotation();
        let state = rotation.advance(None, START).expect("made");
        let later = START + Duration::days(59);
        assert_eq!(rotation.advance(Some(&state), later).expect("read"), state);
        assert_eq!(
            rotation.next_step(&state).expect("read"),
            START + Duration::days(60)
        );
    }

    /// Ten years in steps of whatever is due, with replicas and API servers that learn of each
    /// state only when the next is made.
    #[test]
    fn old_and_new_trust_each_other_at_every_step() {
        let rotation = rotation();
        let mut now = START;
        let mut state = rotation.advance(None, now).expect("made");
        let (mut leaves, mut authorities) = (1, 1);
        while now < START + Duration::days(3650) {
            let step = rotation.next_step(&state).expect("read");
            assert!(step > now, "no step twice");
            now = step;
            let next = rotation.advance(Some(&state), now).expect("made");
            assert_ne!(next, state, "a step changes something");
            for (server, client) in [(&next, &state), (&state, &next)] {
                let leaf = life(&server.leaf.cert).expect("read");
                assert!(leaf.expiry > now, "nothing expired is served");
                assert!(
                    client.trust().contains(&server.ca.cert),
                    "the certificate's CA is trusted"
                );
            }
            assert!(next.leaf.is_for(&rotation.names, &next.ca));
            leaves += usize::from(next.leaf != state.leaf);
            authorities += usize::from(next.ca != state.ca);
            state = next;
        }
        assert!(leaves > 60, "{leaves} certificates");
        assert!(authorities > 14, "{authorities} CAs");
        assert!(state.trust().matches("BEGIN").count() <= 2);
    }

    #[test]
    fn other_names_need_another_certificate() {
        let mut rotation = rotation();
        let state = rotation.advance(None, START).expect("made");
        rotation.names = vec!["other.procview.svc".to_owned()];
        let next = rotation.advance(Some(&state), START).expect("made");
        assert_eq!(next.ca, state.ca);
        assert!(next.leaf.is_for(&rotation.names, &next.ca));
    }

    #[test]
    fn an_expired_ca_is_replaced_at_once() {
        let rotation = rotation();
        let state = rotation.advance(None, START).expect("made");
        let late = START + Duration::days(400);
        let next = rotation.advance(Some(&state), late).expect("made");
        assert_ne!(next.ca, state.ca);
        assert_eq!(next.previous, None);
        assert!(life(&next.leaf.cert).expect("read").expiry > late);
    }
}
