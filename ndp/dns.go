package ndp

import (
	"encoding/binary"
	"strings"
)

func appendRDNSS(b []byte, r RDNSS) []byte {
	if len(r.Servers) == 0 || len(r.Servers) > 127 {
		return b
	}
	b = append(b, uint8(OptRDNSS), uint8(1+2*len(r.Servers)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, seconds(r.Lifetime))
	for _, s := range r.Servers {
		b = appendAddr(b, s)
	}
	return b
}

// parseRDNSS reads, after type and length: reserved (2), Lifetime (4), addresses (16 each)
// (RFC 8106, Section 5.1).
func parseRDNSS(d []byte) (r RDNSS, ok bool) {
	if len(d) < 22 || len(d)%16 != 6 {
		return r, false
	}
	r.Lifetime = lifetime(binary.BigEndian.Uint32(d[2:]))
	for d = d[6:]; len(d) > 0; d = d[16:] {
		r.Servers = append(r.Servers, addr(d))
	}
	return r, true
}

func appendDNSSL(b []byte, l DNSSL) []byte {
	var names []byte
	for _, name := range l.Domains {
		names = appendName(names, name)
	}
	if len(names) == 0 || len(names) > 255*8-8 {
		return b
	}
	data := binary.BigEndian.AppendUint32(make([]byte, 2, 6+len(names)), seconds(l.Lifetime))
	return appendOption(b, OptDNSSL, append(data, names...))
}

// appendName appends a domain name in the form of RFC 1035, Section 3.1, or
// nothing if it has none.
func appendName(b []byte, name string) []byte {
	if !validName(name) {
		return b
	}
	for label := range strings.SplitSeq(name, ".") {
		b = append(b, uint8(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}

func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return true
}

// parseDNSSL reads, after type and length: reserved (2), Lifetime (4), domain names in the
// form of RFC 1035, Section 3.1, padded with zeros (RFC 8106, Section 5.2).
func parseDNSSL(d []byte) (l DNSSL, ok bool) {
	if len(d) < 14 {
		return l, false
	}
	l.Lifetime = lifetime(binary.BigEndian.Uint32(d[2:]))
	for d = d[6:]; len(d) > 0 && d[0] != 0; {
		var name string
		if name, d, ok = parseName(d); !ok {
			return DNSSL{}, false
		}
		l.Domains = append(l.Domains, name)
	}
	return l, len(l.Domains) > 0
}

func parseName(d []byte) (name string, rest []byte, ok bool) {
	var labels []string
	for len(d) > 0 && d[0] != 0 {
		n := int(d[0])
		if n > 63 || 1+n > len(d) || strings.Contains(string(d[1:1+n]), ".") {
			return "", nil, false
		}
		labels = append(labels, string(d[1:1+n]))
		d = d[1+n:]
	}
	name = strings.Join(labels, ".")
	if len(d) == 0 || !validName(name) {
		return "", nil, false
	}
	return name, d[1:], true
}
