package daemon

import (
	"errors"
	"fmt"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// guestChange is a change of guests that came over the API. It is tried on a copy of the inventory
// first.
type guestChange func(*router, *guest.Inventory) error

// put adds guests, or changes those of the same names.
func put(guests []config.Entry, h config.Host) guestChange {
	return func(r *router, in *guest.Inventory) error {
		in.Use(r.cfg.Admission(h))
		return in.Put(guests...)
	}
}

// remove removes a guest.
func remove(name string) guestChange {
	return func(_ *router, in *guest.Inventory) error {
		if !in.Knows(name) {
			return fmt.Errorf("guest %s: %w", name, api.ErrNotFound)
		}
		return in.Remove(name)
	}
}

// moves moves a guest.
func moves(name string, m api.Move) guestChange {
	return func(r *router, in *guest.Inventory) error {
		if !in.Move(name, m.Down, m.LocalPref, r.now()) {
			return fmt.Errorf("guest %s: %w", name, api.ErrNotFound)
		}
		return nil
	}
}

// tryChange tries a change of guests on a copy, and returns those that came over the API and would
// be there after it.
func (r *router) tryChange(do guestChange) ([]config.Guest, error) {
	if r.unread.state {
		return nil, errors.New("the state file has not been read yet")
	}
	next := r.guests.Clone()
	if err := do(r, next); err != nil {
		return nil, err
	}
	return next.FromAPI(), nil
}

// change changes guests and brings everything in line.
func (r *router) change(do guestChange) error {
	if err := do(r, &r.guests); err != nil {
		return err
	}
	r.refresh()
	return nil
}
