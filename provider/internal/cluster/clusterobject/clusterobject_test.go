package clusterobject

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xeroops/xeroops/internal/awsclient"
	model "github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/provider/internal/base"
	"github.com/xeroops/xeroops/provider/internal/clusterspec/spectest"
)

// reference returns the objects of the reference cluster, as Ensure leaves them.
func reference(t *testing.T) *Objects {
	t.Helper()
	o := New(&base.ProviderData{Client: &awsclient.Client{}}, spectest.Reference(), Inputs{VPNEndpoint: func() string { return "192.0.2.1:51820" }, VPCCIDR: func() string { return "10.0.0.0/16" }})
	plain, err := o.plainObjects()
	if err != nil {
		t.Fatal(err)
	}
	for key, content := range plain {
		o.actual[key] = "etag of " + key
		o.records.set(key, Record{ETag: o.actual[key], SHA256: digest(content)})
	}
	for user := range model.OperatorPasswords {
		o.actual[o.layout.OperatorCredentials(user)] = "etag"
		o.records.set(o.layout.OperatorCredentials(user), Record{ETag: "etag"})
	}
	for _, role := range model.Roles() {
		key := o.layout.Credentials(role)
		o.actual[key] = "etag of " + key
		o.records.set(key, Record{ETag: o.actual[key], Internal: strings.Join(internalNames(role), ",")})
	}
	authorities, err := o.authorities()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range authorities {
		records := map[string]Record{a.key: {Certifies: "authority"}, a.bundle: {}}
		for key, id := range a.certificates {
			records[key] = Record{Certifies: certifies(id, "authority"), RenewAt: o.now().Add(time.Hour).Unix()}
		}
		for key, record := range records {
			record.ETag = "etag of " + key
			o.actual[key] = record.ETag
			o.records.set(key, record)
		}
	}
	return o
}

func TestDriftNamesTheObjectThatWasChangedOrDeleted(t *testing.T) {
	layout := spectest.Reference().Layout()
	topology, credentials := layout.Topology(), layout.Credentials(model.RoleDB)
	certificate := layout.Certificate(model.RoleDB, "db1")
	cases := map[string]struct {
		change func(*Objects)
		want   string
	}{
		"nothing":                   {func(*Objects) {}, ""},
		"the topology changed":      {func(o *Objects) { o.actual[topology] = "other" }, topology + " was changed"},
		"the topology deleted":      {func(o *Objects) { delete(o.actual, topology) }, topology + " was deleted"},
		"credentials deleted":       {func(o *Objects) { delete(o.actual, credentials) }, credentials + " was deleted"},
		"credentials never written": {func(o *Objects) { delete(o.actual, credentials); o.records.remove(credentials) }, "credentials of role db do not exist"},
		"a credential that an update of the provider added": {func(o *Objects) {
			names := slices.DeleteFunc(internalNames(model.RoleDB), func(name string) bool { return name == "PATRONI_REST_PASSWORD" })
			o.records.set(credentials, Record{ETag: o.actual[credentials], Internal: strings.Join(names, ",")})
		}, "credentials of role db lack PATRONI_REST_PASSWORD, which the provider generates since its update"},
		"a cluster of an earlier release": {func(o *Objects) {
			delete(o.actual, layout.OperatorCredentials("status"))
			o.records.remove(layout.OperatorCredentials("status"))
		}, layout.OperatorCredentials("status") + " does not exist"},
		"a certificate deleted": {func(o *Objects) { delete(o.actual, certificate) }, certificate + " was deleted"},
		"certificates past half of their lifetime": {func(o *Objects) {
			for _, key := range []string{certificate, layout.Certificate(model.RoleApp, "app1"), layout.EtcdCertificate(model.RoleDB, "db1")} {
				record := o.records.get(key)
				record.RenewAt = o.now().Unix()
				o.records.set(key, record)
			}
		}, "certificates of nodes app1, db1 are due for renewal: half of its lifetime is over"},
		"a cluster of a release without certificates": {func(o *Objects) {
			for key := range o.Records() {
				if strings.HasSuffix(key, ".pem") {
					delete(o.actual, key)
					o.records.remove(key)
				}
			}
		}, "10 certificates of nodes do not exist"},
		"an import, without any bucket":  {func(o *Objects) { o.actual = nil; o.spec.Buckets.Uploads = "" }, ""},
		"an object that is not recorded": {func(o *Objects) { o.actual[layout.TLS()+"edge.pem"] = "e" }, ""},
	}
	for name, c := range cases {
		o := reference(t)
		c.change(o)
		found := strings.Join(o.Drift(t.Context()), "\n")
		if found != c.want {
			t.Errorf("%s: drift is %q, want %q", name, found, c.want)
		}
	}
}

func TestAnObjectIsWrittenAgainIfItsContentOrETagDiffers(t *testing.T) {
	o := reference(t)
	key := o.layout.Topology()
	content, err := o.topology()
	if err != nil {
		t.Fatal(err)
	}
	if !o.records.match(key, o.actual[key], content) {
		t.Error("an unchanged object is written again")
	}
	if o.records.match(key, "other", content) || o.records.match(key, o.actual[key], content+" ") || o.records.match(key, "", content) {
		t.Error("a changed object is not written again")
	}
}

func TestTheClustersOwnVariablesTakePrecedenceOverSettings(t *testing.T) {
	o := reference(t)
	o.spec.Settings = map[string]string{"LOG_LEVEL": "debug", model.EnvNode: "mine"}
	text, err := o.instanceConfig(o.spec.Nodes["db1"])
	if err != nil {
		t.Fatal(err)
	}
	vars, err := envfile.Parse(text)
	if err != nil || vars["LOG_LEVEL"] != "debug" || vars[model.EnvNode] != "db1" || vars[model.EnvDataVolume] != "vol-1" || vars[model.EnvManagementAddress] != "10.0.2.20" {
		t.Errorf("settings are %v (%v)", vars, err)
	}
}

func TestTheTopologyHasEveryNodeAndTheGateway(t *testing.T) {
	o := reference(t)
	o.VPNPublicKey = "key"
	text, err := o.topology()
	if err != nil {
		t.Fatal(err)
	}
	var topology model.Topology
	if err := json.Unmarshal([]byte(text), &topology); err != nil {
		t.Fatal(err)
	}
	want := model.VPN{CIDR: "10.100.0.0/16", Endpoint: "192.0.2.1:51820", PublicKey: "key", Routes: []string{"10.0.0.0/16"}}
	if len(topology.Nodes) != len(o.spec.Nodes) || !reflect.DeepEqual(topology.VPN, want) {
		t.Errorf("topology is %s", text)
	}
}
