package daemon

import (
	"context"
	"net/netip"
	"time"
)

// fightTime is the least between two repairs, lest two programs that want different
// things occupy the machine.
const fightTime = 20 * time.Millisecond

// watchWall puts a place's wall up again as soon as somebody else has changed it:
// reloading the distribution's nftables service flushes the whole ruleset, and where
// domains are told by marks nothing is routed without. A kernel that can't be listened
// to leaves it to mendWalls.
func (d *Daemon) watchWall(ctx context.Context, p *place) {
	if p.wall == nil {
		return
	}
	err := p.wall.Watch(ctx, func() {
		d.loop.do(ctx, func() {
			p.log.Warn("repaired a foreign change", "event", "repair", "op", "replace", "key", "nftables table "+p.cfg.Wall.Table)
			d.router.mendWall(p)
		})
		_ = pause(ctx, fightTime)
	})
	if err != nil {
		p.log.Warn("wall", "event", "wall-error", "err", err)
	}
}

// balanceFlows keeps the flows of one transparent address from taking the room of others,
// and says when it must.
func (d *Daemon) balanceFlows(ctx context.Context, p *place) {
	if p.wall == nil {
		return
	}
	for ctx.Err() == nil {
		err := p.wall.Balance(ctx, func(a netip.Addr, flows int) {
			p.log.Warn("transparent address has more than its part of the table of connections: no new flows", "event", "connections-crowded", "address", a, "flows", flows)
		})
		if err != nil {
			p.log.Warn("wall", "event", "wall-error", "err", err)
			_ = pause(ctx, mendTime)
		}
	}
}
