package arp

import (
	"context"
	"net/netip"
	"time"
)

// The burst of an announcement. RFC 5227, Section 1.1, has ANNOUNCE_NUM 2
// and ANNOUNCE_INTERVAL 2 s. A
// third costs nothing. The short interval is for a guest that has just moved: if
// the first announcement is lost, the next follows within a tenth of a second.
const (
	AnnounceCount    = 3
	AnnounceInterval = 100 * time.Millisecond
)

// Writer is the part of Conn that sends.
type Writer interface {
	Write(frames []Frame) (int, error)
}

// Announce claims each of ips for mac on link: the first round is sent before
// Announce waits, AnnounceCount rounds in all, AnnounceInterval apart. It returns
// the first error of writing, or ctx's; a lost round does not end the burst. Run it
// in a goroutine where waiting 200 ms matters.
func Announce(ctx context.Context, w Writer, ifindex int, mac MAC, ips ...netip.Addr) error {
	frames := make([]Frame, len(ips))
	for i, ip := range ips {
		frames[i] = NewAnnouncement(mac, ip).On(ifindex)
	}
	return AnnounceAll(ctx, w, frames)
}

// AnnounceAll is Announce for frames of any links, as [NewAnnouncement] makes them.
func AnnounceAll(ctx context.Context, w Writer, frames []Frame) error {
	tick := time.NewTicker(AnnounceInterval)
	defer tick.Stop()
	_, err := w.Write(frames)
	for range AnnounceCount - 1 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if _, again := w.Write(frames); err == nil {
			err = again
		}
	}
	return err
}
