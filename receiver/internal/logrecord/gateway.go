// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/gateway"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/httpview"
)

// gatewayAttributes are those of header fields of gateways.
var gatewayAttributes = [gateway.Fields]declared.Attribute{
	gateway.RequestID:           declared.AttrGatewayRequestID,
	gateway.Version:             declared.AttrGatewayVersion,
	gateway.ProxyDuration:       declared.AttrGatewayProxyDuration,
	gateway.UpstreamDuration:    declared.AttrGatewayUpstreamDuration,
	gateway.ResponseDuration:    declared.AttrGatewayResponseDuration,
	gateway.UpstreamStatus:      declared.AttrGatewayUpstreamStatusCode,
	gateway.UserID:              declared.AttrUserID,
	gateway.UserName:            declared.AttrUserName,
	gateway.ConsumerCustomID:    declared.AttrGatewayConsumerCustomID,
	gateway.ConsumerGroups:      declared.AttrGatewayConsumerGroups,
	gateway.ConsumerAnonymous:   declared.AttrGatewayConsumerAnonymous,
	gateway.RateLimit:           declared.AttrGatewayRateLimitLimit,
	gateway.RateRemaining:       declared.AttrGatewayRateLimitRemaining,
	gateway.RateReset:           declared.AttrGatewayRateLimitReset,
	gateway.RetryAfter:          declared.AttrGatewayRateLimitRetryAfter,
	gateway.RateLimitSecond:     declared.AttrGatewayRateLimitSecondLimit,
	gateway.RateLimitMinute:     declared.AttrGatewayRateLimitMinuteLimit,
	gateway.RateLimitHour:       declared.AttrGatewayRateLimitHourLimit,
	gateway.RateLimitDay:        declared.AttrGatewayRateLimitDayLimit,
	gateway.RateLimitMonth:      declared.AttrGatewayRateLimitMonthLimit,
	gateway.RateLimitYear:       declared.AttrGatewayRateLimitYearLimit,
	gateway.RateRemainingSecond: declared.AttrGatewayRateLimitSecondRemaining,
	gateway.RateRemainingMinute: declared.AttrGatewayRateLimitMinuteRemaining,
	gateway.RateRemainingHour:   declared.AttrGatewayRateLimitHourRemaining,
	gateway.RateRemainingDay:    declared.AttrGatewayRateLimitDayRemaining,
	gateway.RateRemainingMonth:  declared.AttrGatewayRateLimitMonthRemaining,
	gateway.RateRemainingYear:   declared.AttrGatewayRateLimitYearRemaining,
}

// putGateway writes what a gateway says of the request, and its own share.
func (l *Logs) putGateway(row *row, v *httpview.View) {
	g := &v.Gateway
	if g.Name == "" {
		return
	}
	row.str(declared.AttrGatewayName, g.Name)
	for i := range g.Values {
		l.putGatewayValue(row, &g.Values[i])
	}
	if !g.Tied {
		return
	}
	if duration, known := v.Exchange.Duration(); known {
		row.double(declared.AttrGatewayOwnDuration, seconds(g.Upstream.Share(duration)))
	}
	if id := g.Upstream.Connection; id != 0 {
		row.str(declared.AttrGatewayUpstreamConnectionID, l.connectionID(id))
	}
	row.int(declared.AttrGatewayUpstreamAttempts, int64(g.Upstream.Attempts))
}

func (l *Logs) putGatewayValue(row *row, value *gateway.Value) {
	a := gatewayAttributes[value.Field]
	switch value.Field.Type() {
	case gateway.Text:
		l.putText(row, a, value.Text)
	case gateway.Int:
		row.int(a, value.Int)
	case gateway.Seconds:
		row.double(a, value.Float)
	case gateway.Bool:
		var number uint64
		if value.Bool {
			number = 1
		}
		row.put(a, pcommon.ValueTypeBool, number)
	}
}
