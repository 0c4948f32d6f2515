package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

var native = binary.NativeEndian

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family { return Family(rtnl.FamilyOf(a)) }
