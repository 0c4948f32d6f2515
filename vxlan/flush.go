package vxlan

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Flush writes what has changed since the last Flush, in batches. A device that was
// never compared with the kernel is reconciled. Every entry that could not be
// written is an *Error within the error returned (errors.Join), and is tried again
// by the next Reconcile.
func (f *FDB) Flush() (Result, error) {
	if err := f.usable(); err != nil {
		return Result{}, err
	}
	f.io.Lock()
	defer f.io.Unlock()
	var total Result
	var errs []error
	for _, link := range f.links() {
		r, err := f.flushLink(link)
		total.add(r)
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

// Reconcile reads every device's table and makes it what is wanted: missing entries
// are written, those of ours that are not wanted are deleted, foreign ones are left
// alone. Without a difference nothing is written. Errors are as with Flush.
func (f *FDB) Reconcile() (Result, error) { return f.reconcile(false) }

// reconcile with repair leaves entries alone whose repairs are delayed, and delays those
// that are made again and again.
func (f *FDB) reconcile(repair bool) (Result, error) {
	if err := f.usable(); err != nil {
		return Result{}, err
	}
	f.io.Lock()
	defer f.io.Unlock()
	var total Result
	var errs []error
	for _, link := range f.links() {
		r, err := f.reconcileLink(link, repair)
		total.add(r)
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

func (f *FDB) links() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	links := make([]int, 0, len(f.devices))
	for link := range f.devices {
		links = append(links, link)
	}
	slices.Sort(links)
	return links
}

// flushLink writes the dirty entries of one device. The caller holds io.
func (f *FDB) flushLink(link int) (Result, error) {
	f.mu.Lock()
	d := f.devices[link]
	if d == nil {
		f.mu.Unlock()
		return Result{}, nil
	}
	if !d.read {
		f.mu.Unlock()
		return f.reconcileLink(link, false)
	}
	writes := make([]write, 0, len(d.floods)+len(d.macs))
	for v := range d.floods {
		writes = append(writes, write{floodOp(&d.want, &d.have, v), Entry{link, MAC{}, v}})
	}
	for mac := range d.macs {
		o, v := macOp(&d.want, &d.have, mac)
		writes = append(writes, write{o, Entry{link, mac, v}})
	}
	clear(d.floods)
	clear(d.macs)
	f.mu.Unlock()
	writes = slices.DeleteFunc(writes, func(w write) bool { return w.op == opNone || w.op == opKeep })
	return f.carryOut(d, writes, false)
}

// reconcileLink compares one device with the kernel. The caller holds io.
func (f *FDB) reconcileLink(link int, repair bool) (Result, error) {
	dump, err := f.dump(link)
	if err != nil {
		e := wrap("dump", "", err)
		e.Entry.IfIndex = link
		return Result{}, e
	}
	f.mu.Lock()
	d := f.devices[link]
	if d == nil {
		f.mu.Unlock()
		return Result{}, nil
	}
	d.have = merge(dump, &d.have)
	d.read = true
	clear(d.floods)
	clear(d.macs)
	writes, r := diff(link, &d.want, &d.have)
	if now := time.Now(); repair {
		writes = slices.DeleteFunc(writes, func(w write) bool { return !f.brakes[keyOf(w.Entry)].Ready(now) })
	}
	f.mu.Unlock()
	done, err := f.carryOut(d, writes, repair)
	r.add(done)
	return r, err
}

// merge makes a table of a dump. What this process wrote stays ours even if the
// kernel's mark is gone.
func merge(dump []dumped, before *table) table {
	t := table{flood: make(map[netip.Addr]owner), macs: make(map[MAC]place, len(dump))}
	for _, e := range dump {
		switch {
		case e.MAC.IsZero():
			if e.owner != ours && e.plain && before.flood[e.VTEP] == ours {
				e.owner = ours
			}
			t.flood[e.VTEP] = e.owner
		case e.MAC.IsUnicast():
			if b := before.macs[e.MAC]; e.owner == foreign && e.plain && b.owner == ours && b.vtep == e.VTEP {
				e.owner = ours
			}
			t.macs[e.MAC] = place{e.VTEP, e.owner}
		}
	}
	return t
}

// carryOut writes and notes what succeeded, and with repair, that it had to be.
func (f *FDB) carryOut(d *device, writes []write, repair bool) (r Result, err error) {
	var errs []error
	var blocked, send []write
	for _, w := range writes {
		if w.op == opBlocked {
			blocked = append(blocked, w)
		} else {
			send = append(send, w)
		}
	}
	failed, err := f.write(send)
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	refuse := func(e *Error) {
		errs = append(errs, e)
		if errors.Is(e, rtnl.ErrLost) {
			d.read = false
		} else if repair {
			f.brakes.Of(keyOf(e.Entry)).Refused(now)
		}
	}
	for _, w := range blocked {
		refuse(&Error{Op: "add", Entry: w.Entry, Err: ErrForeign})
	}
	for i, w := range send {
		if e := failed[i]; e != nil {
			refuse(e)
			continue
		}
		if err != nil { // whether it is done or not, the next look will show
			d.read = false
			continue
		}
		if repair && f.brakes.Of(keyOf(w.Entry)).Repaired(now) {
			errs = append(errs, &Error{Op: w.op.String(), Entry: w.Entry, Err: ErrContended})
		}
		d.have.apply(w)
		switch w.op {
		case opAdd:
			r.Added++
		case opReplace:
			r.Replaced++
		case opDelete:
			r.Deleted++
		}
	}
	return r, errors.Join(append(errs, err)...)
}
