package domain

import (
	"slices"
	"time"
)

// expiries are exports with a time at which something is over for them: the earliest first, and of
// several at the same time the one that was added first.
type expiries []expiry

type expiry struct {
	export *export
	field  *time.Time // of the export
	was    time.Time  // the field when the expiry was added: if it has changed since, there is none
	at     time.Time
}

func (q *expiries) add(e *export, field *time.Time, at time.Time) {
	i := len(*q) // mostly all wait equally long
	for i > 0 && (*q)[i-1].at.After(at) {
		i--
	}
	*q = slices.Insert(*q, i, expiry{e, field, *field, at})
}

// next returns the time of the earliest that still counts.
func (q *expiries) next() time.Time {
	for len(*q) > 0 {
		if first := (*q)[0]; first.field.Equal(first.was) {
			return first.at
		}
		*q = (*q)[1:]
	}
	*q = nil
	return time.Time{}
}

// due takes the earliest that still counts, nil if none is due.
func (q *expiries) due(now time.Time) *export {
	at := q.next()
	if at.IsZero() || at.After(now) {
		return nil
	}
	e := (*q)[0].export
	*q = (*q)[1:]
	return e
}
