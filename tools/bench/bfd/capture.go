package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// flow is one session as the capture sees it.
type flow struct {
	last   int64   // last packet of the daemon while Up
	gaps   []int64 // between them
	heard  int64   // last packet of the peer
	detect int64   // the daemon's first Down after the cut, since heard; 0: none
}

// sniffer captures both directions at the peer's end.
type sniffer struct {
	fd    int
	flows map[[8]byte]*flow
}

// measure captures for a while, cuts the peer off, and captures what the daemon
// makes of it.
func measure(n *network, s shape, r *result) error {
	runtime.LockOSThread() // and the capture must not wait for busy loops
	defer runtime.UnlockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err == nil {
		defer unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0)
	}
	sn := &sniffer{flows: map[[8]byte]*flow{}}
	if err := netns.Do("/run/netns/"+n.b, sn.open); err != nil {
		return err
	}
	defer unix.Close(sn.fd)
	sn.listen(time.Now().Add(4*time.Second), false)
	if err := n.cut(); err != nil {
		return err
	}
	sn.listen(time.Now().Add(time.Duration(s.multiplier)*s.interval+500*time.Millisecond), true)
	var gaps, detect []int64
	theory := int64(s.multiplier) * int64(s.interval)
	for _, f := range sn.flows {
		gaps = append(gaps, f.gaps...)
		if f.detect != 0 {
			detect = append(detect, f.detect-theory)
		}
	}
	if len(gaps) == 0 || len(detect) == 0 {
		return errors.New("the capture saw nothing")
	}
	slices.Sort(gaps)
	slices.Sort(detect)
	at := func(v []int64, p float64) time.Duration { return time.Duration(v[int(p*float64(len(v)-1))]) }
	r.GapMin, r.GapP50, r.GapP999, r.GapMax = at(gaps, 0), at(gaps, .5), at(gaps, .999), at(gaps, 1)
	r.DetectMin, r.DetectP50, r.DetectP99, r.DetectMax = at(detect, 0), at(detect, .5), at(detect, .99), at(detect, 1)
	return nil
}

func (s *sniffer) open() (err error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, all); err != nil {
		return err
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	_ = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// listen takes packets until the time is over.
func (s *sniffer) listen(until time.Time, cut bool) {
	buf, oob := make([]byte, 256), make([]byte, 64)
	for stamp := int64(0); stamp < until.UnixNano(); {
		n, oobn, _, _, err := unix.Recvmsg(s.fd, buf, oob, 0)
		if err != nil && time.Now().After(until) {
			return
		}
		if err != nil || n < 52 || oobn < 32 || buf[0] != 0x45 || buf[9] != 17 || binary.BigEndian.Uint16(buf[22:]) != bfd.Port {
			continue
		}
		stamp = int64(binary.NativeEndian.Uint64(oob[16:]))*1e9 + int64(binary.NativeEndian.Uint64(oob[24:]))
		s.packet(buf[:n], stamp, cut)
	}
}

func (s *sniffer) packet(ip []byte, stamp int64, cut bool) {
	p, err := bfd.ParsePacket(ip[28:])
	if err != nil {
		return
	}
	src := netip.AddrFrom4([4]byte(ip[12:16]))
	key, ours := [8]byte(ip[12:20]), src.As4()[1] == 11
	if !ours {
		copy(key[:4], ip[16:20])
		copy(key[4:], ip[12:16])
	}
	f := s.flows[key]
	if f == nil {
		f = &flow{}
		s.flows[key] = f
	}
	switch {
	case !ours && p.State == bfd.StateUp:
		f.heard = stamp
	case ours && p.State == bfd.StateDown && cut && f.detect == 0 && f.heard != 0:
		f.detect = stamp - f.heard
	case ours && p.State == bfd.StateUp && !p.Final:
		if f.last != 0 && !cut {
			f.gaps = append(f.gaps, stamp-f.last)
		}
		f.last = stamp
	}
}
