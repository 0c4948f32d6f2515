package police

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// machine plays a Policer: "add LINK", "remove LINK", "all RATE", "limit LINK RATE", "take LINK
// COUNT", "behind", "caught-up", "silenced LINK", which says how often it was.
type machine struct{ p Policer }

func (m *machine) Do(now time.Time, words []string) (out []string, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	var n [2]int
	for i, w := range words[1:] {
		if n[i], err = strconv.Atoi(w); err != nil {
			return nil, err
		}
	}
	switch words[0] {
	case "add":
		m.p.Add(n[0])
	case "add-to": // all links up to one
		for i := range n[0] {
			m.p.Add(i + 1)
		}
	case "remove":
		m.p.Remove(n[0])
	case "all":
		m.p.All(float64(n[0]))
	case "limit":
		m.p.Limit(n[0], float64(n[1]))
	case "take":
		taken := 0
		for range n[1] {
			if m.p.Take(now, n[0]) {
				taken++
			}
		}
		out = append(out, fmt.Sprintf("%d of %d", taken, n[1]))
	case "silenced":
		out = append(out, fmt.Sprintf("%d times", m.p.Silenced(n[0])))
	case "behind":
		m.p.Behind()
	case "caught-up":
		m.p.CaughtUp()
	default:
		return nil, fmt.Errorf("unknown word")
	}
	return append(out, m.filter()...), nil
}

func (m *machine) filter() []string {
	list, changed := m.p.Changed()
	what := "all but"
	if list.Only {
		what = "only"
	}
	switch n := len(list.Interfaces); {
	case !changed:
		return nil
	case n > 8:
		return []string{fmt.Sprintf("-> hear %s %d interfaces", what, n)}
	case n == 0:
		return []string{fmt.Sprintf("-> hear %s none", what)}
	}
	return []string{fmt.Sprintf("-> hear %s %s", what, strings.Trim(fmt.Sprint(list.Interfaces), "[]"))}
}

func (m *machine) Deadline() time.Time { return m.p.Deadline() }

func (m *machine) Advance(now time.Time) []string {
	m.p.Advance(now)
	return m.filter()
}

func TestScenarios(t *testing.T) {
	scenario.Files(t, "testdata/*.txt", func(_ *testing.T, text string) (string, error) {
		return scenario.Play(text, &machine{})
	})
}

// TestSearch plays a socket with a receive buffer for 16,000 frames between random floods
// and a reader. Interfaces that bring few frames lose none of them, unless a flood began
// while frames of another one waited, and the reader is not past those; the filter names
// what it may, and nobody is silent after a quiet second.
func TestSearch(t *testing.T) {
	scenario.Search{
		Seeds:  20,
		Inputs: func(r *rand.Rand) []string { return randomInputs(r) },
		Play: func(_ *testing.T, inputs []string) error {
			s := &sharedSocket{loads: map[int]int{}, guilty: map[int]bool{}, limited: map[int]bool{}, unread: map[int]bool{}}
			for _, line := range inputs {
				s.do(strings.Fields(line))
				if s.err != nil {
					return s.err
				}
			}
			return s.quiet()
		},
	}.Run(t)
}

// randomInputs makes "links N", "limit LINK RATE", and "load LINK PER-MILLISECOND" with
// "run MILLISECONDS" between.
func randomInputs(r *rand.Rand) (out []string) {
	links := 2 + r.IntN(20)
	if r.IntN(2) == 0 {
		links = MostListed + r.IntN(1000)
	}
	out = append(out, fmt.Sprintf("links %d", links))
	var floods []int
	for range 5 + r.IntN(30) {
		link := 1 + r.IntN(links+10) // some were not added
		switch r.IntN(6) {
		case 0:
			out = append(out, fmt.Sprintf("limit %d %d", link, 1000*(1+r.IntN(5))))
		case 1:
			out = append(out, fmt.Sprintf("load %d 0", link))
		case 2:
			out = append(out, fmt.Sprintf("load %d 1", link))
		case 3: // four floods at once at most
			if floods = append(floods, link); len(floods) > 4 {
				out = append(out, fmt.Sprintf("load %d 0", floods[0]))
				floods = floods[1:]
			}
			out = append(out, fmt.Sprintf("load %d %d", link, 50+r.IntN(400)))
		default:
			out = append(out, fmt.Sprintf("run %d", 1+r.IntN(300)))
		}
	}
	return append(out, "run 200")
}

// sharedSocket is a receive buffer with a filter, and a reader that takes 300 frames a
// millisecond. What each link sends is a number a millisecond; one that sends a single
// frame is not to lose it.
type sharedSocket struct {
	p       Policer
	now     time.Duration
	queue   []int
	loads   map[int]int
	limited map[int]bool // has a limit
	guilty  map[int]bool // has flooded since the reader was last up to date
	unread  map[int]bool // floods that began while others waited, which the reader is not past yet
	list    List
	added   int
	err     error
}

func (s *sharedSocket) time() time.Time { return scenario.Epoch.Add(s.now) }

func (s *sharedSocket) do(words []string) {
	n := make([]int, 2)
	for i, w := range words[1:] {
		n[i], _ = strconv.Atoi(w)
	}
	switch words[0] {
	case "links":
		s.added = n[0]
		for i := range n[0] {
			s.p.Add(i + 1)
		}
	case "limit":
		s.p.Limit(n[0], float64(n[1]))
		s.limited[n[0]] = true
	case "load":
		if s.loads[n[0]] = n[1]; n[1] == 0 {
			delete(s.loads, n[0])
		} else if n[1] > 1 && len(s.queue) > 0 {
			s.unread[n[0]] = true
		}
	case "run":
		for range n[0] {
			s.millisecond()
		}
	}
}

// innocent reports whether a link is not to lose anything.
func (s *sharedSocket) innocent(link int) bool {
	return s.loads[link] == 1 && s.p.Has(link) && !s.guilty[link] && !s.limited[link]
}

func (s *sharedSocket) hears(link int) bool {
	_, listed := slices.BinarySearch(s.list.Interfaces, link)
	return listed == s.list.Only
}

// millisecond has every link send, in an order that changes, and the reader read.
func (s *sharedSocket) millisecond() {
	const buffer, capacity = 16000, 300
	s.now += time.Millisecond
	s.p.Advance(s.time())
	s.attach()
	links := slices.Sorted(maps.Keys(s.loads))
	for i := range links {
		link := links[(i+int(s.now/time.Millisecond))%len(links)]
		for range s.loads[link] {
			switch {
			case !s.hears(link):
			case len(s.queue) < buffer:
				s.queue = append(s.queue, link)
			case s.innocent(link) && len(s.unread) == 0:
				s.err = fmt.Errorf("%v: a frame of link %d is lost: the receive buffer is full", s.now, link)
				return
			}
		}
		if s.loads[link] > 1 {
			s.guilty[link] = true
		}
		if s.innocent(link) && !s.hears(link) {
			s.err = fmt.Errorf("%v: link %d is silenced with one frame a millisecond", s.now, link)
			return
		}
	}
	if len(s.queue) > buffer/4 {
		s.p.Behind()
	}
	for range capacity {
		if len(s.queue) == 0 {
			s.p.CaughtUp()
			clear(s.guilty)
			clear(s.unread)
			break
		}
		s.p.Take(s.time(), s.queue[0])
		s.queue = s.queue[1:]
	}
	for link := range s.unread {
		if !s.hears(link) {
			delete(s.unread, link)
		}
	}
	s.attach()
}

func (s *sharedSocket) attach() {
	s.list, _ = s.p.Changed()
	if n := s.list.Interfaces; len(n) > MostListed || !slices.IsSorted(n) {
		s.err = fmt.Errorf("a filter with %d interfaces, sorted %v", len(n), slices.IsSorted(n))
	}
}

// quiet lets nobody send for two seconds.
func (s *sharedSocket) quiet() error {
	clear(s.loads)
	for range 2000 {
		s.millisecond()
	}
	for link := range s.added {
		if !s.hears(link + 1) {
			return fmt.Errorf("link %d is silent after two seconds", link+1)
		}
	}
	if !s.p.Deadline().IsZero() {
		return fmt.Errorf("a deadline is left")
	}
	return s.err
}
