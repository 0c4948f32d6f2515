package daemon

import (
	"slices"
	"testing"
	"time"
)

// TestSolicitations: three an interface, 4 s apart, also if sessions end all the time.
func TestSolicitations(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		ends []int // seconds at which a session on interface 7 ends
		gone int   // second at which the interface goes; 0: never
		want []int // seconds at which its routers are asked
	}{
		"one end":          {ends: []int{1}, want: []int{1, 5, 9}},
		"many":             {ends: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, want: []int{1, 5, 9, 13, 17, 21}},
		"again, later":     {ends: []int{1, 40}, want: []int{1, 5, 9, 40, 44, 48}},
		"the interface is": {ends: []int{1}, gone: 4, want: []int{1}},
	} {
		var s solicitations
		var got []int
		for second := range 60 {
			now := start.Add(time.Duration(second) * time.Second)
			if slices.Contains(c.ends, second) {
				s.begin(7)
			}
			if at := s.deadline(); at.IsZero() || at.After(now) {
				continue
			}
			there := map[int]bool{7: c.gone == 0 || second < c.gone}
			if list := s.due(now, there); slices.Equal(list, []int{7}) {
				got = append(got, second)
			} else if list != nil {
				t.Errorf("%s: %v", name, list)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: asked at %v, want %v", name, got, c.want)
		}
		s.due(start.Add(time.Hour), map[int]bool{7: true})
		if len(s.links) != 0 {
			t.Errorf("%s: %d interfaces are remembered", name, len(s.links))
		}
	}
}
