package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Path is where the packets of a peer are.
type Path struct {
	NetNS       string // path of the network namespace; "": that of the calling thread
	Interface   string
	Local, Peer netip.Addr
}

// Limits end a capture.
type Limits struct {
	Packets int           // 0: no limit
	Octets  int64         // of the file; 0: no limit
	Time    time.Duration // 0: no limit
}

// Why a capture has ended.
const (
	EndedByCount = "as many packets as were asked for"
	EndedBySize  = "the file is as large as it may get"
	EndedByTime  = "the time is over"
	EndedByUser  = "interrupted"
)

// Result is what a capture has come to.
type Result struct {
	Packets int
	Octets  int64  // of the file
	Lost    uint64 // packets that the kernel dropped, since they were not taken in time
	Ended   string // one of the constants above; "" after an error
}

// frame is a packet that was taken.
type frame struct {
	path int
	info gopacket.CaptureInfo
	data []byte
}

// Run captures the packets of some paths, with TCP of a port, until ctx ends or a limit is reached.
// It needs CAP_NET_RAW, and in another namespace CAP_SYS_ADMIN.
func Run(ctx context.Context, w io.Writer, paths []Path, port uint16, limits Limits) (r Result, err error) {
	if len(paths) == 0 {
		return r, errors.New("capture: no interface")
	}
	out := &counted{w: w}
	file, err := newFile(out, paths)
	if err != nil {
		return r, fmt.Errorf("capture: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sockets []*socket
	var readers sync.WaitGroup
	frames, failed := make(chan frame), make(chan error, len(paths))
	defer readers.Wait()
	defer func() { // before they are waited for
		cancel()
		for _, s := range sockets {
			s.close()
		}
	}()
	for _, p := range paths {
		s, err := open(p, port)
		if err != nil {
			return r, fmt.Errorf("capture: interface %s: %w", p.Interface, err)
		}
		sockets = append(sockets, s)
	}
	for i, s := range sockets {
		readers.Go(func() { failed <- s.read(ctx, i, frames) })
	}
	var over <-chan time.Time
	if limits.Time > 0 {
		timer := time.NewTimer(limits.Time)
		defer timer.Stop()
		over = timer.C
	}
	for r.Ended == "" {
		select {
		case <-ctx.Done():
			r.Ended = EndedByUser
		case <-over:
			r.Ended = EndedByTime
		case err := <-failed:
			return r, fmt.Errorf("capture: %w", err)
		case f := <-frames:
			// The block has 32 octets beside the packet, which is padded (draft-ietf-opsawg-pcapng, Section 4.3).
			if limits.Octets > 0 && out.n+int64(len(f.data))+32+3 > limits.Octets {
				r.Ended = EndedBySize
				break
			}
			if err := cmp.Or(file.WritePacket(f.info, f.data), file.Flush()); err != nil {
				return r, fmt.Errorf("capture: %w", err)
			}
			if r.Packets++; r.Packets == limits.Packets {
				r.Ended = EndedByCount
			}
		}
		r.Octets = out.n
	}
	for _, s := range sockets {
		r.Lost += s.lost()
	}
	return r, nil
}

// newFile begins a file with a description of each interface.
func newFile(w io.Writer, paths []Path) (*pcapgo.NgWriter, error) {
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "hvrouter capture", OS: "linux"}}
	var file *pcapgo.NgWriter
	for i, p := range paths {
		about := pcapgo.NgInterface{Name: p.Interface, Comment: fmt.Sprintf("%v and %v", p.Local, p.Peer), LinkType: layers.LinkTypeEthernet, TimestampResolution: 9, OS: "linux"}
		var err error
		if i == 0 {
			file, err = pcapgo.NewNgWriterInterface(w, about, options)
		} else {
			_, err = file.AddInterface(about)
		}
		if err != nil {
			return nil, err
		}
	}
	return file, file.Flush()
}

// counted counts what is written.
type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Create makes the file of a capture, which only its owner may read; "-" is standard output.
func Create(name string) (io.WriteCloser, error) {
	if name == "-" {
		return os.Stdout, nil
	}
	return os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}
