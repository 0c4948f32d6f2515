package world

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// What is in this file is what happens to cables, and to the TCP connections over them.

// cable returns the ports of a machine on a fabric or on one network of it: "h3 A", "rr B",
// "h3 A.private".
func (w *World) cable(words []string) (list []*port, err error) {
	if len(words) < 2 {
		return nil, fmt.Errorf("%w: a machine and a fabric are missing", errWords)
	}
	for i, net := range networks {
		if words[1] != net.name && words[1] != net.fabric {
			continue
		}
		if words[0] == "rr" {
			list = append(list, w.reflectors[i].port())
		} else if h, err := w.hostNamed(words, 0); err == nil {
			list = append(list, h.ports[i])
		}
	}
	if list == nil {
		return nil, errWords
	}
	return list, nil
}

// cut makes a cable lose everything silently: in what comes in, out what goes out, both without
// a word.
func (w *World) cut(words []string) error {
	list, err := w.cable(words)
	if err != nil {
		return err
	}
	for _, p := range list {
		w.disturb(p)
		if !p.deaf && !p.mute {
			p.cutAt, p.lostAt = w.now, w.now
		}
		switch word(words, 2) {
		case "in":
			p.deaf = true
		case "out":
			p.mute = true
		default:
			p.deaf, p.mute = true, true
		}
		w.pathChanged(p)
	}
	return nil
}

// heal makes a cable good again.
func (w *World) heal(words []string) error {
	list, err := w.cable(words)
	for _, p := range list {
		w.disturb(p)
		w.clear(p)
		w.setCarrier(p, true)
	}
	return err
}

// clear ends what a cable does to packets.
func (w *World) clear(p *port) {
	if p.deaf || p.mute {
		p.backAt = w.now
	}
	p.deaf, p.mute, p.impaired = false, false, impairment{}
	w.pathChanged(p)
}

// carrierInput pulls a cable or puts it back: both kernels see it.
func (w *World) carrierInput(words []string) error {
	list, err := w.cable(words)
	for _, p := range list {
		w.setCarrier(p, word(words, 2) == "up")
	}
	return err
}

func (w *World) setCarrier(p *port, up bool) {
	if p.carrier == up {
		return
	}
	w.disturb(p)
	if p.carrier = up; up {
		p.backAt = w.now
	} else {
		p.lostAt = w.now
	}
	if h := p.machine.hypervisor; h != nil {
		h.setLink(p.ifindex, up)
	}
	w.pathChanged(p)
}

// impair makes a cable lose, copy or delay packets: "impair h1 A loss 0.1", "copies 0.1",
// "delay 5ms", "jitter 3ms".
func (w *World) impair(words []string) error {
	list, err := w.cable(words)
	if err != nil || len(words) < 4 {
		return errors.Join(err, errWords)
	}
	for _, p := range list {
		w.disturb(p)
		switch words[2] {
		case "loss":
			p.impaired.loss, err = strconv.ParseFloat(words[3], 64)
		case "copies":
			p.impaired.copies, err = strconv.ParseFloat(words[3], 64)
		case "delay":
			p.impaired.delay, err = time.ParseDuration(words[3])
		case "jitter":
			p.impaired.jitter, err = time.ParseDuration(words[3])
		default:
			err = errWords
		}
		w.pathChanged(p)
	}
	return err
}

// stall keeps the TCP connections over a cable from getting anywhere for a while, as a full
// queue does. Other packets pass.
func (w *World) stall(words []string) error {
	list, err := w.cable(words)
	if err != nil || len(words) < 3 {
		return errors.Join(err, errWords)
	}
	d, err := time.ParseDuration(words[2])
	for _, p := range list {
		w.each(p, func(e *end) { e.stalled = w.now + d })
		if h := p.machine.hypervisor; h != nil {
			w.pause(&h.away[pathAway], "TCP stands still: twice as long and 45 s", 2*d+restore)
		}
	}
	return err
}

// reset resets the TCP connections over a cable.
func (w *World) reset(words []string) error {
	list, err := w.cable(words)
	for _, p := range list {
		if h := p.machine.hypervisor; h != nil {
			h.resetAt = w.now
		}
		w.each(p, func(e *end) {
			if peer := e.peer; peer != nil {
				peer.takeReset()
			}
			e.takeReset()
		})
	}
	return err
}

// each calls f for the ends of all connections over a port, on either side.
func (w *World) each(p *port, f func(*end)) {
	for _, e := range p.machine.sorted() {
		if e.port == p {
			f(e)
			if e.peer != nil {
				f(e.peer)
			}
		}
	}
}
