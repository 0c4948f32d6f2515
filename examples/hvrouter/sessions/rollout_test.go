package sessions

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// rollouts plays testdata/rollout/*.txt. The inputs:
//
//	session NAME FABRIC [down] [peer=NAME]  it is there, up and settled
//	want NAME=ends|soft|gone|new:FABRIC ... what is to change
//	up NAME, settled NAME, down NAME
type rollouts struct {
	rollout
	all   []rolloutSession
	names []string
	// What it should never do, and did.
	wrong error
}

func TestRollout(t *testing.T) {
	scenario.Files(t, "testdata/rollout/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &rollouts{})
	})
}

func (r *rollouts) Deadline() time.Time { return r.deadline() }

func (r *rollouts) Advance(now time.Time) []string { return r.turn(now) }

func (r *rollouts) add(name, fabric, peer string) int {
	n := len(r.all)
	r.names = append(r.names, name)
	k := bgp.PeerKey{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), Local: netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})}
	if i := slices.Index(r.names, peer); i >= 0 {
		k.Addr = r.all[i].key.Addr
	}
	r.all = append(r.all, rolloutSession{key: k, fabric: fabric})
	return n
}

// session returns a session by its name, or one that nobody has.
func (r *rollouts) session(name string) *rolloutSession {
	if i := slices.Index(r.names, name); i >= 0 {
		return &r.all[i]
	}
	return &rolloutSession{}
}

func (r *rollouts) Do(now time.Time, words []string) ([]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	switch words[0] {
	case "session":
		peer := ""
		for _, w := range words[3:] {
			peer = strings.TrimPrefix(w, "peer=")
		}
		n := r.add(words[1], words[2], peer)
		up := !slices.Contains(words, "down")
		r.all[n].up, r.all[n].settled = up, up
		return nil, nil
	case "want":
		for _, w := range words[1:] {
			name, what, _ := strings.Cut(w, "=")
			if fabric, ok := strings.CutPrefix(what, "new:"); ok {
				fabric, peer, _ := strings.Cut(fabric, ":")
				r.all[r.add(name, fabric, peer)].changed = true
				continue
			}
			s := r.session(name)
			s.changed, s.gone = true, what == "gone"
			s.ends = s.up && what != "soft"
		}
	case "up", "settled", "down":
		s := r.session(words[1])
		s.up, s.settled = words[0] != "down", words[0] == "settled"
		s.ends = s.ends && s.up
	default:
		return nil, fmt.Errorf("unknown word %q", words[0])
	}
	return r.turn(now), nil
}

func (r *rollouts) turn(now time.Time) (lines []string) {
	list, stuck := r.step(now, r.all)
	r.wrong = cmp.Or(r.wrong, r.judge(now, list))
	for _, k := range list {
		i := slices.IndexFunc(r.all, func(s rolloutSession) bool { return s.key == k })
		s := &r.all[i]
		lines = append(lines, "change "+r.names[i])
		if s.gone {
			r.all, r.names = slices.Delete(r.all, i, i+1), slices.Delete(r.names, i, i+1)
			continue
		}
		if s.ends {
			s.up, s.settled = false, false
		}
		s.changed, s.ends = false, false
	}
	if stuck {
		lines = append(lines, "stuck")
	}
	return lines
}

// TestRolloutSearch: whatever changes, comes back or not, and in whatever order, a rollout
// ends no sessions while another fabric is down because of it, nor those of two fabrics at
// once; and what ends no session happens at once.
func TestRolloutSearch(t *testing.T) {
	scenario.Search{Seeds: 2000, Inputs: randomRollout, Play: func(_ *testing.T, inputs []string) error {
		r := &rollouts{}
		_, err := scenario.Play(strings.Join(inputs, "\n"), r)
		return cmp.Or(r.wrong, err)
	}}.Run(t)
}

func randomRollout(r *rand.Rand) (lines []string) {
	var names []string
	for i := range 2 + r.IntN(4) {
		name := string(rune('a' + i))
		line := "session " + name + " " + string(rune('A'+r.IntN(3)))
		if r.IntN(5) == 0 {
			line += " down"
		}
		names, lines = append(names, name), append(lines, line)
	}
	now := 0
	for range 3 + r.IntN(12) {
		now += []int{0, 1, 5, 40, 100}[r.IntN(5)]
		name := names[r.IntN(len(names))]
		var input string
		switch r.IntN(5) {
		case 0:
			input = "want"
			for _, n := range names {
				if what := r.IntN(6); what < 4 {
					input += " " + n + []string{"=ends", "=ends", "=soft", "=gone"}[what]
				}
			}
		default:
			input = []string{"up ", "settled ", "settled ", "down "}[r.IntN(4)] + name
		}
		lines = append(lines, fmt.Sprintf("+%ds %s", now, input))
	}
	return lines
}

// judge checks what is to be brought in against the sessions as they were before.
func (r *rollouts) judge(now time.Time, list []bgp.PeerKey) error {
	fabric := ""
	for _, s := range r.all {
		switch chosen := slices.Contains(list, s.key); {
		case s.changed && !s.ends && !chosen && !r.blocked(s, r.all):
			return fmt.Errorf("%v waits, and would end nothing", s.key)
		case !chosen || !s.ends:
		case fabric != "" && fabric != s.fabric:
			return fmt.Errorf("sessions of %s and %s end at once", fabric, s.fabric)
		default:
			fabric = s.fabric
		}
	}
	there, up := map[string]bool{}, map[string]bool{}
	for _, s := range r.all {
		if !s.gone {
			there[s.fabric], up[s.fabric] = true, up[s.fabric] || s.up
		}
	}
	for f := range r.rollout.broken {
		if fabric != "" && f != fabric && there[f] && !up[f] {
			return fmt.Errorf("sessions of %s end, and %s is not back", fabric, f)
		}
	}
	return nil
}
