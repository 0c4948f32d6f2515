package firewall

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// The flows of transparent addresses share the kernel's table of connections with each
// other, and with what the operator's own rules have tracked. Chain flows bounds how fast
// one of them grows. Once the table is half full, each gets an equal part of that half, and
// one that has more gets no new flows until it has less: nothing in nftables could count
// them for less than a walk through all flows of an address at each new one (ct count).

const (
	balanceInterval = 2 * time.Second  // between two looks at how full the table is
	blockTime       = 15 * time.Second // how long an address gets no new flows
)

// Balance looks after the table of connections until ctx ends, and calls blocked for the
// addresses that have more than their part of it.
func (w *Firewall) Balance(ctx context.Context, blocked func(address netip.Addr, flows int)) error {
	tick := time.NewTicker(balanceInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		over, err := w.balance()
		if err != nil {
			return fmt.Errorf("firewall: connections: %w", err)
		}
		for a, n := range over {
			blocked(a, n)
		}
		if len(over) > 0 { // that was work
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(blockTime / 3):
			}
		}
	}
}

// balance holds back the addresses that have more than their part, and returns them with
// how many flows they have.
func (w *Firewall) balance() (over map[netip.Addr]int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.translations) == 0 {
		return nil, nil
	}
	err = netns.Do(w.netns, func() error {
		have, most := tracked("count"), cmp.Or(w.room, tracked("max"))
		if have <= most/2 {
			return nil
		}
		behind := map[netip.Addr]netip.Addr{}
		for _, t := range w.translations {
			behind[t.Address], behind[t.To] = t.Address, t.Address
		}
		counts, err := flowsOf(behind)
		if err != nil {
			return err
		}
		over = map[netip.Addr]int{}
		for _, t := range w.translations {
			if n := counts[t.Address]; n > most/2/len(w.translations) {
				over[t.Address] = n
			}
		}
		return w.holdBack(over)
	})
	return over, err
}

// holdBack adds addresses, and guests' own behind them, to the sets of those that get no
// new flows.
func (w *Firewall) holdBack(over map[netip.Addr]int) error {
	if len(over) == 0 {
		return nil
	}
	conn, err := w.dial()
	if err != nil {
		return err
	}
	for _, s := range w.applied[0].sets {
		var list []nftables.SetElement
		for _, t := range w.translations {
			if _, is := over[t.Address]; is && s.Name == crowdedSet(t.Address) {
				for _, a := range []netip.Addr{t.Address, t.To} {
					list = append(list, nftables.SetElement{Key: a.AsSlice(), Timeout: blockTime})
				}
			}
		}
		if len(list) > 0 {
			if err := conn.SetAddElements(s.Set, list); err != nil {
				return err
			}
		}
	}
	return conn.Flush()
}

// tracked reads a figure of connection tracking; 0 if there is none.
func tracked(what string) int {
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + what)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// flowsOf counts the flows whose original source or destination is a key, for each value.
func flowsOf(of map[netip.Addr]netip.Addr) (counts map[netip.Addr]int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	const size = unix.SizeofNlMsghdr + 4          // struct nfgenmsg
	const get = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1 // IPCTNL_MSG_CT_GET
	ask := make([]byte, size)
	*(*unix.NlMsghdr)(unsafe.Pointer(&ask[0])) = unix.NlMsghdr{Len: size, Type: get, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	counts = map[netip.Addr]int{}
	for b := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return counts, nil
			case unix.NLMSG_ERROR:
				return nil, fmt.Errorf("dump refused: %v", m.Data)
			}
			src, dst := original(m.Data)
			if a, ok := of[dst]; ok {
				counts[a]++
			} else if a, ok := of[src]; ok {
				counts[a]++
			}
		}
	}
}

// original returns the addresses of a flow's original direction: CTA_TUPLE_ORIG,
// CTA_TUPLE_IP, and CTA_IP_V4_SRC, _DST, CTA_IP_V6_SRC, _DST in it.
func original(b []byte) (src, dst netip.Addr) {
	const tupleOrig, tupleIP = 1, 1
	if len(b) < 4 {
		return src, dst
	}
	for kind, value := range attributes(attribute(attribute(b[4:], tupleOrig), tupleIP)) {
		switch a, _ := netip.AddrFromSlice(value); kind {
		case 1, 3:
			src = a
		case 2, 4:
			dst = a
		}
	}
	return src, dst
}

func attribute(b []byte, kind uint16) []byte {
	for k, value := range attributes(b) {
		if k == kind {
			return value
		}
	}
	return nil
}

// attributes yields the attributes of a netlink message; it ends at the first that is
// broken.
func attributes(b []byte) func(yield func(kind uint16, value []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			a := *(*unix.NlAttr)(unsafe.Pointer(&b[0]))
			if int(a.Len) < unix.SizeofNlAttr || int(a.Len) > len(b) || !yield(a.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofNlAttr:a.Len]) {
				return
			}
			b = b[min(len(b), int(a.Len+3)&^3):]
		}
	}
}

// translations lists those of a spec.
func (s Spec) translations() (list []Translation) {
	for _, g := range s.Guests {
		list = append(list, g.Translations...)
	}
	return slices.CompactFunc(list, func(a, b Translation) bool { return a.Address == b.Address })
}
