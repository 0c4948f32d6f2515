package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// refuse counts the lines in the log of a minute in which four peers each refuse in their
// own manner.
func refuse(ctx context.Context, b *budget) error {
	m, err := newMachine(ctx)
	defer m.close()
	if err != nil {
		return err
	}
	manners := []struct {
		what   string
		answer func(net.Conn) // nil: nobody listens
	}{
		{"a NOTIFICATION for each OPEN", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			// RFC 4271, Section 4.5: marker, length, type 3, Cease (6), Connection Rejected (5, RFC 4486, Section 4).
			_, _ = c.Write(append(bytes.Repeat([]byte{255}, 16), 0, 21, 3, 6, 5))
		}},
		{"a close for each connection", func(net.Conn) {}},
		{"a RST for each connection", nil},
		{"an OPEN that never comes", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); <-m.ctx.Done() }},
	}
	for n, l := range networks {
		if err := m.veth(l+"0", fmt.Sprintf("198.51.%d.1/24 2001:db8:%d::1/64", n, n), l+"1", fmt.Sprintf("198.51.%d.2/24 2001:db8:%d::2/64", n, n)); err != nil {
			return err
		}
		if answer := manners[n].answer; answer != nil {
			if err := m.listen(fmt.Sprintf("198.51.%d.2:179", n), answer); err != nil {
				return err
			}
		}
	}
	config := strings.Replace(hvConfig(), "process: separate, realtime: \"off\"", "process: off", 1)
	if err := m.start(config); err != nil {
		return err
	}
	for minute := 1; minute <= 2; minute++ {
		before, _ := os.ReadFile(m.path("hv.log"))
		if err := m.rest(time.Minute); err != nil {
			return err
		}
		after, _ := os.ReadFile(m.path("hv.log"))
		for n, manner := range manners {
			peer := []byte(fmt.Sprintf("198.51.%d.2", n))
			lines := bytes.Count(after, peer) - bytes.Count(before, peer)
			if minute == 1 {
				lines += bytes.Count(before, peer) // since the start
			}
			b.most(fmt.Sprintf("%s: lines of log in minute %d", manner.what, minute), float64(lines), float64(8/minute), "")
		}
	}
	return nil
}

// listen answers connections in the peers' namespace until the program ends.
func (m *machine) listen(address string, answer func(net.Conn)) error {
	return netns.Do("/run/netns/"+m.peer, func() error {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					answer(c)
				}()
			}
		}()
		context.AfterFunc(m.ctx, func() { l.Close() })
		return nil
	})
}
