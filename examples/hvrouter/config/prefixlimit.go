package config

import "time"

// PrefixLimit bounds what a peer may announce on a session, in each family by itself. Its words
// are those of BIRD's import limit and Junos's prefix-limit.
type PrefixLimit struct {
	// Maximum of prefixes that the peer may have announced, with ADD-PATH of paths; 0 is no
	// limit. All that it has announced in this session counts, whatever import makes of it.
	// Default 500000.
	Maximum *int `yaml:"maximum,omitempty" json:"maximum"`
	// PathsPerPrefix is the most paths of one prefix, with ADD-PATH; 0 is no limit. Default
	// 1024.
	PathsPerPrefix *int `yaml:"paths-per-prefix,omitempty" json:"paths-per-prefix"`
	// Threshold is the percentage of Maximum at which a warning is due. Default 75.
	Threshold int `yaml:"threshold,omitempty" json:"threshold"`
	// Action beyond the limit: warn (default) only reports it, block ignores what is new
	// until there is room, restart ends the session and keeps the peer out for a while.
	Action string `yaml:"action,omitempty" json:"action"`
	// RestartAfter is how long the peer stays out the first time; each time it is twice as
	// long, up to an hour. Default 1m.
	RestartAfter Duration `yaml:"restart-after,omitempty" json:"restart-after"`
}

// Half a million routes is what a restart of this daemon is tested beside, and a thousand
// paths of one prefix what a domain looks at (rib.WatchConfig). A hypervisor that loses its
// reflector loses everything, so that the default is a warning.
const (
	defaultPrefixes       = 500_000
	defaultPathsPerPrefix = 1024
)

// fill takes what is not given from other.
func (l *PrefixLimit) fill(other PrefixLimit) {
	if l.Maximum == nil {
		l.Maximum = other.Maximum
	}
	if l.PathsPerPrefix == nil {
		l.PathsPerPrefix = other.PathsPerPrefix
	}
	def(&l.Threshold, other.Threshold)
	def(&l.Action, other.Action)
	defDuration(&l.RestartAfter, other.RestartAfter.Duration)
}

func defaultPrefixLimit() PrefixLimit {
	prefixes, paths := defaultPrefixes, defaultPathsPerPrefix
	return PrefixLimit{Maximum: &prefixes, PathsPerPrefix: &paths, Threshold: 75, Action: "warn", RestartAfter: Duration{time.Minute}}
}

// prefixLimit checks what is not as in other, which is checked by itself.
func (k *checker) prefixLimit(path string, l, other PrefixLimit) {
	k.noLess(path+".maximum", l.Maximum, other.Maximum)
	k.noLess(path+".paths-per-prefix", l.PathsPerPrefix, other.PathsPerPrefix)
	if l.Threshold != other.Threshold && (l.Threshold < 1 || l.Threshold > 100) {
		k.bad(path+".threshold", "%d: want 1 to 100 per cent", l.Threshold)
	}
	if l.Action != other.Action {
		k.oneOf(path+".action", l.Action, "warn", "block", "restart")
	}
	if t := l.RestartAfter.Duration; t != other.RestartAfter.Duration && (t < time.Second || t > 24*time.Hour) {
		k.bad(path+".restart-after", "%v: want 1s to 24h", t)
	}
}

func (k *checker) noLess(path string, n, other *int) {
	if n != other && *n < 0 {
		k.bad(path, "%d: want a number, or 0 for no limit", *n)
	}
}
