package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// status is what `bfdd show` gets, as JSON. Durations are in seconds.
type status struct {
	Connections int       `json:"connections"`    // of bfdd
	Linger      float64   `json:"linger"`         // how long a session stays that no bfdd wants
	Fenced      *uint64   `json:"fenced_packets"` // of bfdd that were kept off the wire; null: there is no fence
	FenceError  string    `json:"fence_error,omitempty"`
	Sessions    []session `json:"sessions"`
}

// session is a session as shown.
type session struct {
	Peer      string    `json:"peer,omitempty"`
	Local     string    `json:"local,omitempty"`
	Interface string    `json:"interface,omitempty"`
	Multihop  bool      `json:"multihop"`
	State     string    `json:"state,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Reason    string    `json:"reason,omitempty"` // why it is in that state
	Downs     uint64    `json:"downs"`
	Discr     uint32    `json:"discriminator"`        // on the wire
	Remote    uint32    `json:"remote_discriminator"` // likewise
	Interval  float64   `json:"interval"`             // of sending, as negotiated
	Detect    float64   `json:"detection_time"`
	Sent      uint64    `json:"sent"`
	Received  uint64    `json:"received"`
	IDs       []uint32  `json:"bfdd_ids"`          // bfdd's ids of it
	Lingers   float64   `json:"lingers,omitempty"` // for how long yet, since no bfdd wants it
	Note      string    `json:"note,omitempty"`    // what bfdd asked for and does not get
	Err       string    `json:"error,omitempty"`   // what the session lacks
}

// report makes the status; it is the loop's.
func (s *shell) report() status {
	out := status{Connections: len(s.conns), Linger: s.linger.Seconds(), Sessions: []session{}}
	if s.fenced != nil {
		n, err := s.fenced()
		if out.Fenced = &n; err != nil {
			out.Fenced, out.FenceError = nil, err.Error()
		}
	}
	for _, i := range s.plane.Sessions(time.Now()) {
		line := session{Interface: i.Interface, Multihop: i.Multihop, Since: i.Since, Reason: i.Reason.String(), Downs: i.Downs, Discr: i.Discr, Remote: i.RemoteDiscr,
			Interval: i.TxInterval.Seconds(), Detect: i.DetectTime.Seconds(), Sent: i.Sent, Received: i.Received, IDs: i.IDs, Lingers: i.Linger.Seconds(), Note: i.Note, Err: i.Err}
		if i.Peer.IsValid() {
			line.Peer, line.State = i.Peer.String(), i.State.String()
		}
		if i.Local.IsValid() {
			line.Local = i.Local.String()
		}
		out.Sessions = append(out.Sessions, line)
	}
	return out
}

// answer serves the status socket: who connects gets the status.
func (s *shell) answer() {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.ctx.Done():
			s.status.Close()
		case <-stop:
		}
	}()
	for {
		c, err := s.status.Accept()
		if err != nil {
			return
		}
		reply := make(chan status, 1)
		if !s.bring(reply) {
			c.Close()
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_ = json.NewEncoder(c).Encode(<-reply)
		c.Close()
	}
}

// showCommand prints the status.
func showCommand(args []string, stdout, stderr io.Writer) error {
	fs, dir := flags("show", stderr)
	asJSON := fs.Bool("j", false, "print JSON")
	if err := parse(fs, args); err != nil {
		return err
	}
	c, err := net.Dial("unix", filepath.Join(*dir, statusSocket))
	if err != nil {
		return err
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if *asJSON {
		_, err = stdout.Write(text)
		return err
	}
	var st status
	if err := json.Unmarshal(text, &st); err != nil {
		return err
	}
	return st.print(stdout, time.Now())
}

func (st *status) print(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "%d connections of bfdd, %d sessions", st.Connections, len(st.Sessions))
	switch {
	case st.FenceError != "":
		fmt.Fprintf(w, "; the fence around bfdd cannot be read: %s", st.FenceError)
	case st.Fenced != nil:
		fmt.Fprintf(w, "; %d packets of bfdd kept off the wire", *st.Fenced)
	default:
		fmt.Fprint(w, "; bfdd's own packets are NOT kept off the wire")
	}
	fmt.Fprint(w, "\n")
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tLOCAL\tINTERFACE\tSTATE\tSINCE\tDOWNS\tDETECT\tBFDD\tWHY")
	for _, s := range st.Sessions {
		owner := strings.Trim(fmt.Sprint(s.IDs), "[]")
		if s.Lingers > 0 {
			owner = fmt.Sprintf("gone, ends in %v", seconds(s.Lingers))
		}
		link := orDash(s.Interface)
		if s.Multihop {
			link = "multihop"
		}
		since := "-"
		if !s.Since.IsZero() {
			since = now.Sub(s.Since).Round(time.Second).String()
		}
		why := slices.DeleteFunc([]string{s.Reason, s.Note, s.Err}, func(text string) bool { return text == "" })
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%v\t%s\t%s\n", orDash(s.Peer), orDash(s.Local), link, orDash(s.State), since, s.Downs,
			time.Duration(s.Detect*float64(time.Second)).Round(time.Millisecond), owner, strings.Join(why, "; "))
	}
	return t.Flush()
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
