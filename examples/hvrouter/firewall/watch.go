package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// ownSockets is how many sockets of ours are remembered: more than the transactions
// that can wait to be read.
const ownSockets = 64

// watchBuffer holds what the kernel has to say about a table with thousands of
// guests that is replaced.
const watchBuffer = 4 << 20

// transactionBuffer holds a table with all guests that a hypervisor can have: each takes
// some 600 octets.
const transactionBuffer = 16 << 20

// Watch calls changed after each transaction in which somebody else has changed or
// deleted the firewall's table, `nft flush ruleset` for example; the next Apply then
// replaces it whatever its spec. It returns when ctx ends, with nil, or when the
// kernel can't be listened to.
func (w *Firewall) Watch(ctx context.Context, changed func()) error {
	var conn *netlink.Conn
	err := netns.Do(w.netns, func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("firewall: %w", err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(watchBuffer)
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("firewall: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	touched := false
	for {
		msgs, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // something was lost: it may have been ours
			w.spoil()
			changed()
			continue
		case err != nil:
			return fmt.Errorf("firewall: %w", err)
		}
		for _, m := range msgs {
			if m.Header.Type != newGeneration {
				touched = w.foreign(m) || touched
			} else if touched {
				touched = false
				changed()
			}
		}
	}
}

// newGeneration ends the messages of a transaction.
const newGeneration = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN

// foreign notes a message about our table that somebody else caused. It waits for an
// Apply that is under way to say which socket it uses.
func (w *Firewall) foreign(m netlink.Message) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.applied, func(t *table) bool { return about(m, t) }) || slices.Contains(w.own, m.Header.PID) {
		return false
	}
	w.spoiled = true
	w.audited.told++
	return true
}

func (w *Firewall) spoil() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoiled = true
	w.audited.told++
}

// about reports whether a message is about a table. Tables, chains, rules, sets and their
// elements all have its name as their first attribute.
func about(m netlink.Message, t *table) bool {
	const nfgenmsg, tableName = 4, 1
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < nfgenmsg || m.Data[0] != byte(t.Family) {
		return false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[nfgenmsg:])
	return err == nil && ad.Next() && ad.Type() == tableName && string(bytes.TrimRight(ad.Bytes(), "\x00")) == t.Name
}

// remember notes the port of a socket of ours; the lock is held. The socket has room for
// an answer to each message of a transaction, and for a transaction as a whole, which is
// one datagram.
func (w *Firewall) remember(conn *netlink.Conn) error {
	_ = conn.SetReadBuffer(watchBuffer)
	_ = conn.SetWriteBuffer(transactionBuffer)
	if len(w.own) == ownSockets {
		w.own = w.own[1:]
	}
	w.own = append(w.own, conn.PID())
	return nil
}
