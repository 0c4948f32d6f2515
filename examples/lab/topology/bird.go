package topology

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"
)

// bird prepares a BIRD 2 for a node.
func (top *Topology) bird(node, name, config string, sessions int) (*Daemon, error) {
	program, err := exec.LookPath("bird")
	if err != nil {
		program = "/usr/sbin/bird"
	}
	path, err := top.Write("etc/"+name+".conf", config)
	if err != nil {
		return nil, err
	}
	socket := top.file(name + ".ctl")
	d := &Daemon{Name: name, Node: top.Nodes[node], Kind: Bird, Log: top.file("log/" + name + ".log"), Sessions: sessions,
		Args: []string{program, "-f", "-c", path, "-s", socket, "-P", top.file(name + ".pid")}}
	d.flaps = func() (Flaps, error) {
		lines, err := birdCommand(socket, "show bfd sessions")
		return birdFlaps(lines), err
	}
	if sessions > 0 {
		d.peers = func() ([]Peer, error) { return birdPeers(socket) }
	}
	return d, nil
}

// birdPeers asks BIRD for its BGP and BFD sessions.
func birdPeers(socket string) ([]Peer, error) {
	protocols, err := birdCommand(socket, "show protocols all")
	if err != nil {
		return nil, err
	}
	bfd, err := birdCommand(socket, "show bfd sessions")
	if err != nil {
		return nil, err
	}
	return parseBird(protocols, bfd), nil
}

// birdFlaps reads the answer to "show bfd sessions": address, interface, state and
// the time since when.
func birdFlaps(lines []string) Flaps {
	out := Flaps{}
	for _, l := range lines {
		if f := strings.Fields(l); len(f) >= 6 && f[0] != "IP" {
			at, _ := time.Parse("15:04:05.000", f[3])
			out[f[0]+"%"+f[1]] = Flap{f[2], time.Duration(at.Sub(at.Truncate(24 * time.Hour)))}
		}
	}
	return out
}

// birdCommand runs one command over the control socket and returns the lines of
// the answer without their codes.
func birdCommand(socket, command string) ([]string, error) {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return nil, err
	}
	var out []string
	greeted := false
	for s := bufio.NewScanner(conn); s.Scan(); {
		text, last := stripCode(s.Text())
		switch {
		case !greeted:
			greeted = true
		case last && text == "":
			return out, nil
		default:
			out = append(out, text)
			if last {
				return out, nil
			}
		}
	}
	return nil, fmt.Errorf("BIRD ended the conversation")
}

// stripCode removes the reply code from a line: "1002-text" goes on, "0000 text"
// is the last one, " text" repeats the code before.
func stripCode(line string) (text string, last bool) {
	if strings.HasPrefix(line, " ") || len(line) < 5 {
		return strings.TrimPrefix(line, " "), false
	}
	code := line[:4]
	return line[5:], line[4] == ' ' && (code[0] == '0' || code[0] == '8' || code[0] == '9')
}

// parseBird reads the answers to "show protocols all" and "show bfd sessions".
func parseBird(protocols, bfd []string) []Peer {
	states := map[string]string{} // BFD state by neighbour and interface
	for _, l := range bfd {
		if f := strings.Fields(l); len(f) >= 3 {
			states[f[0]+"%"+f[1]] = f[2]
		}
	}
	var out []Peer
	for _, l := range protocols {
		f := strings.Fields(l)
		if len(f) >= 4 && f[1] == "BGP" {
			out = append(out, Peer{Name: f[0]})
			continue
		}
		if len(out) == 0 {
			continue
		}
		p := &out[len(out)-1]
		switch {
		case strings.HasPrefix(l, "  BGP state:"):
			p.State = f[2]
		case strings.HasPrefix(l, "    Neighbor address:") || strings.HasPrefix(l, "  Neighbor address:"):
			p.BFD = states[f[2]] // address%interface
		}
	}
	return out
}
