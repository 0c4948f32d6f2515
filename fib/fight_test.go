package fib

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestSearchFights has somebody do the same few things to the kernel again and again for
// a minute, whatever the FIB does: it writes a bounded number of messages, and when he
// stops everything is as desired, without a restart.
func TestSearchFights(t *testing.T) {
	scenario.Search{Seeds: 100, Inputs: func(r *rand.Rand) []string {
		g := &gen{Rand: r}
		g.say("config %s batch %d", pick(g, "wait", "wait", "refuse", "take"), 1+g.IntN(6))
		for range 4 + g.IntN(12) {
			switch g.IntN(8) {
			case 0:
				g.say("rule %s", g.rule())
			case 1:
				g.say("address %s", g.address())
			case 2:
				g.say("neighbour %s", g.neighbor())
			case 3:
				g.say("gateway-down %s", g.gateways())
			default:
				g.say("set %s", g.route())
			}
		}
		g.say("sweep")
		var deeds []string
		for range 1 + g.IntN(3) {
			deeds = append(deeds, strings.Replace(g.foreign(), "rule add", "rule create", 1)) // of thousands of the same each needs a deletion
		}
		g.say("fight %dms %s", 20+g.IntN(300)*g.IntN(2), strings.Join(deeds, " / "))
		return g.lines
	}, Play: playFight}.Run(t)
}

// mostInFight is how many messages may be written in the minute of a fight: there are some
// fifty keys (routes, objects, groups, probes and so on), and about each there may be 10
// repairs at once and 10 with growing delays; of a route by several next hops, so many with each.
const mostInFight = 50 * 30

func playFight(t *testing.T, inputs []string) (err error) {
	fight := ""
	inputs = slices.DeleteFunc(slices.Clone(inputs), func(s string) bool {
		if strings.HasPrefix(s, "fight ") {
			fight = s
		}
		return strings.HasPrefix(s, "fight ")
	})
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.quiet, p.config.Tables = true, []uint32{90}
		p.follow = &follower{}
		p.m.guard = &guard{player: p}
		defer p.stop()
		if _, err = scenario.Play(strings.Join(inputs, "\n"), p); err != nil {
			return
		}
		p.pass(10 * time.Second)
		before, writes := p.m.count, len(p.m.writes)
		p.fight(fight)
		if n := p.m.count - before; n > mostInFight {
			err = fmt.Errorf("%d messages in the fight; the last ones are %q", n, p.m.writes[max(writes, len(p.m.writes)-20):])
			return
		}
		err = p.settle(len(inputs) + mostInFight)
	})
	return err
}

// fight does the deeds, one by one, for a minute.
func (p *player) fight(line string) {
	list := strings.Fields(line)
	if len(list) < 3 || p.f == nil {
		return
	}
	every, err := time.ParseDuration(list[1])
	if err != nil {
		p.Fatal(err)
	}
	var deeds [][]string
	for _, s := range strings.Split(strings.Join(list[2:], " "), " / ") {
		deeds = append(deeds, strings.Fields(s))
	}
	end := time.Now().Add(time.Minute)
	for i := 0; time.Now().Before(end); i++ {
		p.foreign(&words{list: deeds[i%len(deeds)]})
		p.pass(every)
	}
	p.said = nil
}
