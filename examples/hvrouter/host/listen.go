package host

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening reads who listens on a port in the namespace of the thread, from
// /proc/net/tcp and the like (proc_net_tcp(5)). Processes of our own program are left
// out: a daemon that runs has its ports.
func listening(proto string, port uint16) (list []Listener) {
	type socket struct {
		addr  netip.Addr
		inode string
	}
	var sockets []socket
	for _, file := range []string{proto, proto + "6"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
			if addr, at, inode, ok := socketLine(lines.Text(), proto == "tcp"); ok && at == port {
				sockets = append(sockets, socket{addr, inode})
			}
		}
	}
	if len(sockets) == 0 {
		return nil
	}
	owners := map[string]string{} // by what the links of their descriptors say
	for _, s := range sockets {
		owners["socket:["+s.inode+"]"] = ""
	}
	own(owners)
	self, _ := os.Readlink("/proc/self/exe")
	for _, s := range sockets {
		dir := owners["socket:["+s.inode+"]"]
		if dir == "" {
			list = append(list, Listener{Addr: s.addr})
		} else if who, ours := process(dir, self); !ours {
			list = append(list, Listener{s.addr, who})
		}
	}
	return list
}

// stateListen is TCP_LISTEN, as the kernel writes it.
const stateListen = "0A"

// socketLine reads one line: the local address and port, and the inode. For TCP it is ok
// if the socket listens.
func socketLine(line string, tcp bool) (addr netip.Addr, port uint16, inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || tcp && f[3] != stateListen {
		return addr, 0, "", false
	}
	text, number, _ := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(number, 16, 16)
	b, bad := hex.DecodeString(text)
	if err != nil || bad != nil || len(b)%4 != 0 {
		return addr, 0, "", false
	}
	for i := 0; i+4 <= len(b); i += 4 { // words, in the machine's order of octets
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	addr, ok = netip.AddrFromSlice(b)
	return addr.Unmap(), uint16(n), f[9], ok
}

// own finds the directory below /proc of a process that has each of these sockets.
func own(owners map[string]string) {
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range descriptors {
		to, err := os.Readlink(fd)
		if _, wanted := owners[to]; err == nil && wanted {
			owners[to] = filepath.Dir(filepath.Dir(fd))
		}
	}
}

// process returns the name and number of a process, and whether it is one of ours.
func process(dir, self string) (who string, ours bool) {
	name, _ := os.ReadFile(dir + "/comm")
	exe, _ := os.Readlink(dir + "/exe")
	const deleted = " (deleted)" // as after an upgrade
	ours = strings.TrimSuffix(exe, deleted) == strings.TrimSuffix(self, deleted) || strings.HasPrefix(string(name), "hvrouter")
	return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), filepath.Base(dir)), ours
}
