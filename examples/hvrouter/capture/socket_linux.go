package capture

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/netns"
)

// maxFrame is the largest packet that an interface hands up: segments that were put together (GRO).
const maxFrame = 1 << 18

// receiveBuffer of a socket, in octets: what may wait while the file is written.
const receiveBuffer = 4 << 20

// socket is a packet socket with a filter.
type socket struct {
	file *os.File // in non-blocking mode: Close interrupts a Read
	raw  syscall.RawConn
}

func open(p Path, port uint16) (s *socket, err error) {
	program, err := filter(p.Local, p.Peer, port)
	if err != nil {
		return nil, err
	}
	code := make([]unix.SockFilter, len(program))
	for i, c := range program {
		code[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	fd, link := -1, 0
	err = netns.Do(p.NetNS, func() error {
		i, err := net.InterfaceByName(p.Interface)
		if err != nil {
			return err
		}
		link = i.Index
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // protocol 0: nothing comes yet
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range []func() error{
		func() error {
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
		},
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) },
		func() error {
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}), Ifindex: link})
		},
	} {
		if err := f(); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	s = &socket{file: os.NewFile(uintptr(fd), "capture on "+p.Interface)}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) close() { s.file.Close() }

// read hands over packets until ctx ends. What comes meanwhile waits in the kernel.
func (s *socket) read(ctx context.Context, path int, frames chan<- frame) error {
	buf, oob := make([]byte, maxFrame), make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
	for {
		var n, oobn int
		var failed error
		err := s.raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, failed = unix.Recvmsg(int(fd), buf, oob, unix.MSG_TRUNC)
			return failed != unix.EAGAIN && failed != unix.EINTR
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case failed == unix.ENETDOWN: // the interface was set down; it may come up again
			continue
		case failed != nil:
			return os.NewSyscallError("recvmsg", failed)
		}
		data := append([]byte(nil), buf[:min(n, len(buf))]...)
		info := gopacket.CaptureInfo{Timestamp: timestamp(oob[:oobn]), CaptureLength: len(data), Length: n, InterfaceIndex: path}
		select {
		case frames <- frame{path, info, data}:
		case <-ctx.Done():
			return nil
		}
	}
}

// timestamp is when the kernel had a packet.
func timestamp(oob []byte) time.Time {
	list, err := unix.ParseSocketControlMessage(oob)
	if err == nil && len(list) > 0 && list[0].Header.Type == unix.SO_TIMESTAMPNS && len(list[0].Data) >= 16 {
		b := list[0].Data
		return time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:])))
	}
	return time.Now()
}

// lost returns how many packets the kernel has dropped since it was asked last.
func (s *socket) lost() (n uint64) {
	_ = s.raw.Control(func(fd uintptr) {
		if st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			n = uint64(st.Drops)
		}
	})
	return n
}
