// Package malformed is a table of messages that a peer should not send, and some odd
// ones that it may, with what a correct receiver makes of each. The table is text
// (table.txt); bgp/wire judges its parsers by it, bgp a whole speaker, by what a
// second peer then sees.
package malformed

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

//go:embed table.txt
var table string

// Case is one row of the table.
type Case struct {
	Line int
	Name string
	RFC  string // the section that decides
	Peer string // "open": before the session is up; else ibgp, ebgp, ibgp2, ...
	// Options are those of the session that Message arrives on.
	Options wire.Options
	Message []byte // whole, header included, but its header may be wrong
	Want    Want
}

// Want is the outcome of a Case.
type Want struct {
	Disposition   wire.Disposition
	Code, Subcode uint8         // of the NOTIFICATION, where one is due or would be
	Attr          wire.AttrType // that the error is about, 0 if none
	Has, Lacks    []wire.AttrType
	Partial       []wire.AttrType // of Has: the partial bit is set
}

// String returns the outcome as the table writes it.
func (w Want) String() string {
	s := w.Disposition.String()
	if w.Code != 0 {
		s += fmt.Sprintf(" %d/%d", w.Code, w.Subcode)
	}
	if w.Attr != 0 {
		s += fmt.Sprintf(" %v", w.Attr)
	}
	return s
}

// Cases reads the table. It panics if the table is wrong: it is part of the program.
func Cases() []Case {
	var cases []Case
	for i, line := range strings.Split(table, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		c, err := parse(line)
		if err != nil {
			panic(fmt.Sprintf("table.txt:%d: %v", i+1, err))
		}
		c.Line = i + 1
		cases = append(cases, c)
	}
	return cases
}

func parse(line string) (c Case, err error) {
	col := strings.Split(line, ";")
	if len(col) < 5 {
		return c, fmt.Errorf("%d columns", len(col))
	}
	for i := range col {
		col[i] = strings.TrimSpace(col[i])
	}
	c = Case{Name: col[0], RFC: col[1], Peer: col[2], Options: options[col[2]]}
	if c.Message, err = message(col[3]); err != nil {
		return c, err
	}
	c.Want, err = want(strings.Fields(strings.Join(col[4:], " ")))
	return c, err
}

// options of each kind of peer.
var options = map[string]wire.Options{
	"open":    {},
	"ibgp":    {AS4: true, IBGP: true, Families: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)},
	"ebgp":    {AS4: true, Families: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)},
	"ibgp2":   {IBGP: true, Families: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)},
	"addpath": {AS4: true, IBGP: true, AddPath: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)},
	"v4only":  {AS4: true, IBGP: true, Families: wire.Families(wire.IPv4Unicast)},
}

func want(words []string) (w Want, err error) {
	names := map[string]wire.Disposition{"ok": wire.NoError, "discard": wire.AttributeDiscard, "withdraw": wire.TreatAsWithdraw, "reset": wire.SessionReset}
	var ok bool
	if w.Disposition, ok = names[words[0]]; !ok {
		return w, fmt.Errorf("outcome %q", words[0])
	}
	for _, s := range words[1:] {
		t, _ := strconv.Atoi(strings.TrimLeft(s, "+-*"))
		switch {
		case strings.Contains(s, "/"):
			_, err = fmt.Sscanf(s, "%d/%d", &w.Code, &w.Subcode)
		case s[0] == '+':
			w.Has = append(w.Has, wire.AttrType(t))
		case s[0] == '*':
			w.Has, w.Partial = append(w.Has, wire.AttrType(t)), append(w.Partial, wire.AttrType(t))
		case s[0] == '-':
			w.Lacks = append(w.Lacks, wire.AttrType(t))
		default:
			w.Attr = wire.AttrType(t)
		}
	}
	return w, err
}

// macros of the message column.
var macros = strings.NewReplacer(
	"{base}", "{origin} {path} {nh} {lp}",
	"{base2}", "{origin} {path2} {nh} {lp}",
	"{ebase}", "{origin} {path} {nh}",
	"{base6}", "{mp6} {origin} {path} {lp}",
)

var basics = strings.NewReplacer(
	"{origin}", "40:1[00]",
	"{path}", "40:2[0201 0000fc00]",
	"{path2}", "40:2[0201 fc00]",
	"{nh}", "40:3[c0000201]",
	"{lp}", "40:5[00000064]",
	"{mp6}", "80:14[0002 01 10 {hop6} 00 {n6}]",
	"{mpu6}", "80:15[0002 01 {n6}]",
)

var leaves = strings.NewReplacer(
	"{hop6}", "20010db8000000000000000000000001",
	"{ll}", "fe800000000000000000000000000001",
	"{n}", "18cb0071", // 203.0.113.0/24
	"{n6}", "3020010db80001", // 2001:db8:1::/48
)

var (
	repeated  = regexp.MustCompile(`([0-9a-f]{2})\*(\d+)`)
	attribute = regexp.MustCompile(`([0-9a-f]{2}):(\d+)\[([^\]]*)\]`)
)

// octets turns the notation of table.txt into octets.
func octets(s string) ([]byte, error) {
	s = leaves.Replace(basics.Replace(macros.Replace(s)))
	s = repeated.ReplaceAllStringFunc(s, func(m string) string {
		p := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(p[2])
		return strings.Repeat(p[1], n)
	})
	s = attribute.ReplaceAllStringFunc(s, func(m string) string {
		p := attribute.FindStringSubmatch(m)
		value := strings.ReplaceAll(p[3], " ", "")
		flags, _ := strconv.ParseUint(p[1], 16, 8)
		t, _ := strconv.Atoi(p[2])
		if uint8(flags)&wire.FlagExtended != 0 {
			return fmt.Sprintf("%02x%02x%04x%s", flags, t, len(value)/2, value)
		}
		return fmt.Sprintf("%02x%02x%02x%s", flags, t, len(value)/2, value)
	})
	return hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "-", ""))
}

// message builds the message of a row: "BYTES octets", "MSG type body",
// "OPEN body" or "UPDATE withdrawn / attributes / nlri".
func message(s string) ([]byte, error) {
	verb, rest, _ := strings.Cut(s, " ")
	kind := wire.TypeUpdate
	switch verb {
	case "BYTES":
		return octets(rest)
	case "OPEN":
		kind = wire.TypeOpen
	case "MSG":
		var n int
		if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
			return nil, err
		}
		kind = wire.MessageType(n)
		_, rest, _ = strings.Cut(rest, " ")
	case "UPDATE":
		part := strings.Split(rest, "/")
		if len(part) != 3 {
			return nil, fmt.Errorf("UPDATE with %d parts", len(part))
		}
		w, err1 := octets(part[0])
		a, err2 := octets(part[1])
		n, err3 := octets(part[2])
		for _, err := range []error{err1, err2, err3} {
			if err != nil {
				return nil, err
			}
		}
		rest = fmt.Sprintf("%04x %x %04x %x %x", len(w), w, len(a), a, n)
	default:
		return nil, fmt.Errorf("message %q", verb)
	}
	body, err := octets(rest)
	n := wire.HeaderLen + len(body)
	head := append([]byte(strings.Repeat("\xff", 16)), byte(n>>8), byte(n), byte(kind))
	return append(head, body...), err
}
