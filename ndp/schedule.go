package ndp

import (
	"math/rand/v2"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/rate"
)

// The constants of a router (RFC 4861, Section 10), and ours where the RFC leaves room.
const (
	MaxInitialInterval = 16 * time.Second // between the first InitialCount advertisements, at most
	InitialCount       = 3
	FinalCount         = 3
	MinMulticastDelay  = 3 * time.Second // between multicast advertisements that answer or follow a change

	// FinalInterval is between the last advertisements of a router that stops. Three at
	// MinMulticastDelay would keep a departed guest's interface for 6 s; who hears one
	// has heard enough, and the others are for loss.
	FinalInterval = 100 * time.Millisecond

	// SolicitedRate and SolicitedBurst limit the answers to solicitations on one link, a
	// second and at once. A booting host sends three. Beyond, all of them get one
	// multicast answer together, MinMulticastDelay after the last.
	SolicitedRate  = 10
	SolicitedBurst = 20
)

// Timing says when unsolicited advertisements go. The zero value is the default
// of RFC 4861, Section 6.2.1: 200 to 600 s.
type Timing struct {
	MaxInterval time.Duration  // MaxRtrAdvInterval, 4 s to 1800 s; 0: 600 s
	MinInterval time.Duration  // MinRtrAdvInterval, 3 s to three quarters of MaxInterval; 0: a third of it
	Rand        func() float64 // from [0,1); nil: math/rand/v2
}

// ScheduleEvent is what a Schedule wants sent.
type ScheduleEvent uint8

// The events.
const (
	ScheduleNothing   ScheduleEvent = iota // nothing is due
	ScheduleAdvertise                      // a multicast advertisement
	ScheduleWithdraw                       // a final one, router lifetime 0
	ScheduleFinished                       // the last final one has been sent: forget the link
)

// String returns the event in lower case.
func (e ScheduleEvent) String() string {
	return enum.String("ScheduleEvent", []string{"nothing", "advertise", "withdraw", "finished"}, e)
}

// Schedule is the timing of one link's router advertisements: an initial burst,
// random intervals, answers to solicitations, final ones (RFC 4861, Section 6.2). It is
// pure: time comes in, events go out. Not safe for concurrent use.
//
// A solicitation is answered at once instead of after up to 0.5 s
// (MAX_RA_DELAY_TIME): that delay keeps several routers of one link apart, and on a
// guest's link there is one.
type Schedule struct {
	timing  Timing      // with defaults
	bucket  rate.Bucket // answers to solicitations
	next    time.Time   // when the next event is due; zero: never
	last    time.Time   // the last multicast
	initial int         // of the initial burst still to send
	final   int         // of the final burst still to send
	ending  bool        // the final burst has begun
}

// NewSchedule returns a stopped schedule.
func NewSchedule(t Timing) *Schedule {
	if t.MaxInterval == 0 {
		t.MaxInterval = 600 * time.Second
	}
	if t.MinInterval == 0 {
		t.MinInterval = max(t.MaxInterval/3, 3*time.Second)
	}
	if t.Rand == nil {
		t.Rand = rand.Float64
	}
	return &Schedule{timing: t, bucket: rate.Bucket{Rate: SolicitedRate, Size: SolicitedBurst}}
}

// Start begins, or begins again because what is advertised has changed: the first
// of InitialCount advertisements is due now, or MinMulticastDelay after the last.
func (s *Schedule) Start(now time.Time) {
	s.ending, s.final, s.initial = false, 0, InitialCount
	s.next = s.notBefore(now)
}

// Stop has FinalCount final advertisements sent, the first one now.
func (s *Schedule) Stop(now time.Time) {
	if s.ending {
		return
	}
	s.ending, s.final, s.initial = true, FinalCount, 0
	s.next = now
}

// Solicited takes a valid solicitation, and reports whether it is to be answered now,
// by itself. If not, it is one of too many, and a multicast answer is under way.
func (s *Schedule) Solicited(now time.Time) bool {
	if s.ending || s.next.IsZero() {
		return false
	}
	if s.bucket.Take(now) {
		return true
	}
	if at := s.notBefore(now); at.Before(s.next) {
		s.next = at
	}
	return false
}

// notBefore is the earliest time for a multicast that did not wait for its
// interval.
func (s *Schedule) notBefore(now time.Time) time.Time {
	if at := s.last.Add(MinMulticastDelay); !s.last.IsZero() && at.After(now) {
		return at
	}
	return now
}

// Deadline is when Advance has something to say; the zero time if never.
func (s *Schedule) Deadline() time.Time { return s.next }

// Advance returns what is due at now, one event at a time, and plans the next.
func (s *Schedule) Advance(now time.Time) ScheduleEvent {
	switch {
	case s.next.IsZero() || now.Before(s.next):
		return ScheduleNothing
	case s.ending && s.final == 0:
		s.next = time.Time{}
		return ScheduleFinished
	case s.ending:
		s.final--
		s.next = now.Add(FinalInterval)
		if s.final == 0 {
			s.next = now
		}
		return ScheduleWithdraw
	}
	s.last = now
	s.next = now.Add(s.interval())
	return ScheduleAdvertise
}

// interval is the time to the next unsolicited advertisement: uniform between the
// bounds, so that routers do not fall into step, and short for the first ones.
func (s *Schedule) interval() time.Duration {
	t := s.timing
	d := t.MinInterval + time.Duration(t.Rand()*float64(t.MaxInterval-t.MinInterval))
	if s.initial > 0 {
		s.initial--
	}
	if s.initial > 0 {
		d = min(d, MaxInitialInterval)
	}
	return d
}
