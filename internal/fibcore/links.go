package fibcore

import (
	"fmt"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// links are the interfaces.
type links struct {
	byIndex map[int32]wire.Link
	gone    map[string]int32 // by name: interfaces that are gone
	aliases map[int32]int32  // what the caller knows by an old index
	touched map[int32]bool   // that were told of since an audit began; nil: no audit
}

// linkUp reports whether a next-hop object may use the link: the kernel demands
// carrier for objects.
func (c *links) linkUp(link int32) bool { return c.byIndex[link].Up() }

func (c *links) linkAdminUp(link int32) bool { return c.byIndex[link].AdminUp }

func (c *links) linkName(link int32) string {
	if l, ok := c.byIndex[link]; ok {
		return l.Interface
	}
	return fmt.Sprintf("if%d", link)
}

// linkIndex is the index of the interface that the caller means by i.
func (c *links) linkIndex(i int) int {
	if len(c.aliases) == 0 {
		return i
	}
	for range len(c.aliases) {
		if _, there := c.byIndex[int32(i)]; there {
			break
		}
		to, ok := c.aliases[int32(i)]
		if !ok {
			break
		}
		i = int(to)
	}
	return i
}

// linkList lists the interfaces, by index.
func (c *links) linkList() []wire.Link {
	links := make([]wire.Link, 0, len(c.byIndex))
	for _, l := range c.byIndex {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b wire.Link) int { return a.IfIndex - b.IfIndex })
	return links
}

// linkNamed returns the index of the interface of that name, or if it is gone the last one
// that it had; 0 if there has never been one.
func (c *links) linkNamed(name string) int {
	for _, l := range c.byIndex {
		if l.Interface == name {
			return l.IfIndex
		}
	}
	return int(c.gone[name])
}
