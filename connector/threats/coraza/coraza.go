// SPDX-License-Identifier: Apache-2.0

// Package coraza is the ebpf_tcp_threats connector with the rule payload_signature: Coraza judges
// requests by the OWASP core rule set. It is a module of its own, so that nobody else carries its
// dependencies.
package coraza

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
	"go.opentelemetry.io/collector/connector"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats"
)

// NewFactory is that of the connector, with the engine.
func NewFactory() connector.Factory { return threats.NewFactory(threats.WithPayloadEngine(Open)) }

// directives come after the setup of the rule set, and before its rules. Only requests are judged,
// nothing is written to a log, and regular expressions are Go's, which take linear time.
const directives = `
SecRuleEngine DetectionOnly
SecAuditEngine Off
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecRequestBodyLimit %d
SecRequestBodyInMemoryLimit %d
SecRequestBodyLimitAction ProcessPartial
SecAction "id:900000,phase:1,pass,nolog,setvar:tx.blocking_paranoia_level=%d,setvar:tx.detection_paranoia_level=%d"
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:200001,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "^(?:application|text)/xml" "id:200000,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
`

// engine is a Coraza instance.
type engine struct{ waf coraza.WAF }

// Open makes an engine with the embedded rule set, or with that of a folder, which has
// crs-setup.conf and rules/*.conf.
func Open(set threats.PayloadSettings) (threats.PayloadEngine, error) {
	root, setup, rules := fs.FS(coreruleset.FS), "@crs-setup.conf.example", "@owasp_crs/*.conf"
	if set.Folder != "" {
		root, setup, rules = os.DirFS(set.Folder), "crs-setup.conf", "rules/*.conf"
	}
	config := coraza.NewWAFConfig().WithRootFS(root).
		WithDirectives("Include " + setup).
		WithDirectives(fmt.Sprintf(directives, set.MaxBytes, set.MaxBytes, set.Paranoia, set.Paranoia)).
		WithDirectives("Include " + rules)
	waf, err := coraza.NewWAF(config)
	if err != nil {
		return nil, fmt.Errorf("read the rule set: %w", err)
	}
	return &engine{waf}, nil
}

// Close frees what the rules hold.
func (e *engine) Close() error {
	if closer, ok := e.waf.(interface{ Close() error }); ok {
		return closer.Close()
	}
	return nil
}

// Judge runs the rules of the first two phases, which are those of a request.
func (e *engine) Judge(r *threats.PayloadRequest) (verdict threats.PayloadVerdict, err error) {
	tx := e.waf.NewTransaction()
	// After a panic, too: a transaction may have files.
	defer func() { err = errors.Join(err, tx.Close()) }()
	return judge(tx, r)
}

func judge(tx types.Transaction, r *threats.PayloadRequest) (threats.PayloadVerdict, error) {
	tx.ProcessConnection(r.Client.String(), 0, r.Server.String(), int(r.Port))
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	tx.ProcessURI(target, r.Method, "HTTP/1.1")
	for _, h := range r.Headers {
		tx.AddRequestHeader(h.Name, h.Value)
	}
	tx.ProcessRequestHeaders()
	if len(r.Body) > 0 {
		if _, _, err := tx.WriteRequestBody(r.Body); err != nil {
			return threats.PayloadVerdict{}, fmt.Errorf("hand on the body: %w", err)
		}
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return threats.PayloadVerdict{}, fmt.Errorf("judge the body: %w", err)
	}
	return verdictOf(tx), nil
}

// scores are those that the core rule set gives to the severities.
var scores = map[types.RuleSeverity]int{
	types.RuleSeverityCritical: 5, types.RuleSeverityError: 4, types.RuleSeverityWarning: 3, types.RuleSeverityNotice: 2,
}

// counts tells whether a rule counts: those about scanners and about attacks, and a site's own below
// 100,000. Rules about methods and
// protocols (911, 920) look at what a record need not have, such as Host and Content-Type, and take PUT
// and gRPC for faults unless a site allows them. 949, 959 and 980 add up scores, 950 to 956 judge answers.
func counts(id int) bool {
	return id < 100_000 || id >= 913000 && id < 914000 || id >= 921000 && id < 949000
}

func verdictOf(tx types.Transaction) threats.PayloadVerdict {
	var v threats.PayloadVerdict
	for _, match := range tx.MatchedRules() {
		rule := match.Rule()
		id := rule.ID()
		if !counts(id) || match.Message() == "" {
			continue
		}
		v.Score += scores[rule.Severity()]
		v.Rules = append(v.Rules, strconv.Itoa(id))
	}
	slices.Sort(v.Rules)
	v.Rules = slices.Compact(v.Rules)
	return v
}
