package wire

import (
	"encoding/binary"
	"fmt"
)

// Subtypes of ROUTE-REFRESH (RFC 7313, Section 3.2).
const (
	RefreshRequest uint8 = 0 // RFC 2918, Section 3: send everything again
	RefreshBegin   uint8 = 1 // BoRR: everything follows
	RefreshEnd     uint8 = 2 // EoRR: that was everything
)

// RouteRefresh is a ROUTE-REFRESH message (RFC 2918, Section 3; RFC 7313, Section 3.2).
type RouteRefresh struct {
	Family  Family // to be sent again
	Subtype uint8  // RefreshRequest, RefreshBegin or RefreshEnd; others are to be ignored
}

// ParseRouteRefresh reads the body of a ROUTE-REFRESH. A body of a length other than
// 4 is an error, except for a request: what follows there are outbound route
// filters (RFC 5291, Section 4), which are not negotiated and thus ignored.
func ParseRouteRefresh(body []byte) (RouteRefresh, error) {
	// AFI (2), Message Subtype (1), SAFI (1).
	if len(body) < 4 || len(body) > 4 && body[2] != RefreshRequest {
		return RouteRefresh{}, &Error{Disposition: SessionReset, Code: CodeRouteRefresh, Subcode: SubRefreshLength,
			Data: finish(append(appendHeader(nil, TypeRouteRefresh), body...), 0), Message: TypeRouteRefresh,
			RFC: "RFC 7313, Section 5", Text: fmt.Sprintf("length %d, not 4", len(body))}
	}
	return RouteRefresh{Family: Family{AFI: binary.BigEndian.Uint16(body), SAFI: body[3]}, Subtype: body[2]}, nil
}

// Append appends the whole message to b.
func (r RouteRefresh) Append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(appendHeader(b, TypeRouteRefresh), r.Family.AFI)
	return finish(append(b, r.Subtype, r.Family.SAFI), start)
}
