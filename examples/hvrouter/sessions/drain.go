package sessions

// Drain says what becomes of the default routes that neighbours are announced. Other routes are drained
// by what is announced: see [Member.Announce].
type Drain uint8

// Values of Drain.
const (
	DrainOff Drain = iota // they are announced as configured
	DrainOn               // with GRACEFUL_SHUTDOWN and the local preference 0
	DrainAll              // not at all
)

// DrainDefaults sets it. Domains that share sessions share it.
func (m Member) DrainDefaults(d Drain) { m.drainDefaults(d) }

func (s *speaker) drainDefaults(d Drain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan.drain == d {
		return
	}
	if s.plan.drain = d; s.plan.cfg != nil {
		s.reconcile()
	}
}
