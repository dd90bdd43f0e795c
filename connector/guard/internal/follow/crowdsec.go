// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/crowdsec"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lists"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/settings"
)

// CrowdSec is a local API whose bans block.
type CrowdSec struct {
	client *crowdsec.Client
	logger *zap.Logger
}

// NewCrowdSec makes a client of the API; nil if none is configured. It keeps limit decisions. Networks
// are the host's own, which no list may block; now is since boot.
func NewCrowdSec(ctx context.Context, cfg *settings.CrowdSecConfig, limit int, networks func() []netip.Prefix, now func() time.Duration,
	host component.Host, telemetry component.TelemetrySettings,
) (*CrowdSec, error) {
	if cfg.Client.Endpoint == "" {
		return nil, nil
	}
	client, err := cfg.Client.ToClient(ctx, host.GetExtensions(), telemetry)
	if err != nil {
		return nil, fmt.Errorf("crowdsec: %w", err)
	}
	set := crowdsec.Defaults()
	set.HTTP, set.URL, set.Key = client, cfg.Client.Endpoint, string(cfg.Key)
	set.Interval, set.Timeout, set.Limit = cfg.Interval, cfg.Client.Timeout, limit
	set.Now, set.Random = now, rand.Float64
	set.Refuse = lists.DefaultPolicy(networks).Refuse
	followed, err := crowdsec.New(set)
	if err != nil {
		return nil, fmt.Errorf("crowdsec: %w", err)
	}
	return &CrowdSec{client: followed, logger: telemetry.Logger}, nil
}

// Again hands everything over once more, at once as it is known, and then as the API has it.
func (c *CrowdSec) Again() { c.client.Resync() }

// Ignored counts the decisions that have no effect, by reason.
func (c *CrowdSec) Ignored() [crowdsec.Reasons]uint64 { return c.client.Ignored() }

// Run hands over what the API decides until the context ends.
func (c *CrowdSec) Run(ctx context.Context, apply func(crowdsec.Update)) {
	answers := true
	var ignored [crowdsec.Reasons]uint64
	c.client.Run(ctx, apply, func(err error) {
		if err != nil && answers && ctx.Err() == nil {
			c.logger.Warn("CrowdSec doesn't answer; its blocks last until their end", zap.Error(err))
		} else if err == nil && !answers {
			c.logger.Info("CrowdSec answers again")
		}
		answers = err == nil
		if now := c.client.Ignored(); now != ignored {
			c.logIgnored(now, ignored)
			ignored = now
		}
	})
}

// logIgnored tells how many decisions had no effect since the last answer, by reason.
func (c *CrowdSec) logIgnored(now, before [crowdsec.Reasons]uint64) {
	var fields []zap.Field
	for reason := range crowdsec.Reasons {
		if n := now[reason] - before[reason]; n > 0 {
			fields = append(fields, zap.Uint64(reason.String(), n))
		}
	}
	c.logger.Warn("decisions of CrowdSec have no effect", fields...)
}
