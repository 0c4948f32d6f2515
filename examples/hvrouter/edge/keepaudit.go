package edge

import (
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/pace"
)

// auditShare is the share of the time that the audit takes at most, 1/auditShare; auditBatch is how much it compares at once.
const auditShare, auditBatch = 100, 32

// keeperAudit reads everything again in rounds, to find what no notification has told. A notification of what
// has been read may still wait in the socket, so the kernel is asked something there: the answer, the fence, is queued behind it.
type keeperAudit struct {
	*keeper
	begun, next time.Time
	left        []subject
}

// advance reads a bit, if that is due.
func (a *keeperAudit) advance() {
	now := time.Now()
	if a.round <= 0 || now.Before(a.next) {
		return
	}
	a.mu.Lock()
	if len(a.left) == 0 {
		a.begun, a.left = now, slices.Collect(a.subjects)
	}
	part := a.left[:min(auditBatch, len(a.left))]
	a.left = a.left[len(part):]
	for _, s := range part {
		if _, due := a.due[s]; due {
			continue
		}
		if differences, err := a.compare(s, true); err == nil && len(differences) > 0 {
			a.suspects[s] = differences[0].Difference
		}
	}
	ask := len(a.suspects) > 0
	if ask {
		a.fence++
	}
	fence := a.fence
	a.mu.Unlock()
	if ask {
		_, _ = a.monitor.Send(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request, Sequence: fence}, Data: fenceQuestion()}) // if that fails, the next round judges
	}
	end := time.Now()
	a.next = end.Add(pace.Rest(end.Sub(now), auditShare, 10*time.Millisecond, time.Minute))
	if next := a.begun.Add(a.round); len(a.left) == 0 && a.next.Before(next) {
		a.next = next
	}
}
