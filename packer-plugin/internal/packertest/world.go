// Package packertest is what the plugin's tests build against: an account of
// moto behind a front, and an SSH server in place of the machine.
package packertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/inventory"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/packer-plugin/internal/sshmachine"
)

// The regions that a world has.
const Region, OtherRegion = "eu-west-1", "eu-central-1"

// sharedMoto is shared by the package's tests; each begins with a reset.
var sharedMoto = sync.OnceValues(func() (*moto.Server, error) {
	return moto.Start(context.Background(), moto.Options{})
})

// Main runs a package's tests.
func Main(m *testing.M) {
	log.SetOutput(io.Discard) // the SDK tells every SSH command
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": Region,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if server, err := sharedMoto(); err == nil {
		server.Stop()
	}
	os.Exit(code)
}

// World is an account behind a front, and a machine to log in to: an SSH server
// that has the host key from the instance's user-data.
type World struct {
	Front   *fakeaws.Front
	EC2     map[string]*ec2.Client // straight to moto, by region
	Machine *sshmachine.Machine
	Record  string // what the machine has as image.json

	t   *testing.T
	mu  sync.Mutex
	ran []string
}

// New empties the account; it skips the test where there is no moto.
func New(t *testing.T) *World {
	t.Helper()
	return NewWith(t, fixups.Options{PendingFor: 10 * time.Millisecond})
}

// NewWith is New with another behaviour of AWS.
func NewWith(t *testing.T, o fixups.Options) *World {
	t.Helper()
	server, err := sharedMoto()
	if errors.Is(err, moto.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	front, err := fakeaws.Start(fakeaws.Options{Upstream: server.URL, Fixups: fixups.All(o)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	w := &World{t: t, Front: front, EC2: map[string]*ec2.Client{}}
	for _, region := range []string{Region, OtherRegion} {
		w.EC2[region] = ec2.NewFromConfig(inventory.Config(server.URL, region))
	}
	w.Machine, err = sshmachine.Start(w.hostKey, w.Run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Machine.Close)
	return w
}

// hostKey reads the machine's host key where cloud-init would: in the
// user-data of the one instance that runs.
func (w *World) hostKey() (ssh.Signer, error) {
	ctx, client := context.Background(), w.EC2[Region]
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"running"}}}})
	if err != nil || len(out.Reservations) == 0 {
		return nil, fmt.Errorf("no machine: %w", err)
	}
	attribute, err := client.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: out.Reservations[0].Instances[0].InstanceId, Attribute: types.InstanceAttributeNameUserData})
	if err != nil {
		return nil, err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(attribute.UserData.Value))
	if err != nil {
		return nil, err
	}
	var config struct {
		Keys map[string]string `json:"ssh_keys"`
	}
	body, ok := strings.CutPrefix(string(text), "#cloud-config\n")
	if !ok {
		return nil, fmt.Errorf("user-data is no #cloud-config: %s", text)
	}
	if err := json.Unmarshal([]byte(body), &config); err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey([]byte(config.Keys["ed25519_private"]))
}

// Run answers a command of the build as a sound machine would.
func (w *World) Run(command string, _ io.Reader, out, _ io.Writer) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran = append(w.ran, command)
	if strings.Contains(command, "image.json") {
		_, _ = io.WriteString(out, w.Record)
	}
	return 0
}

// Config is a configuration of the builder that works; more overrides it.
func (w *World) Config(more map[string]any) map[string]any {
	c := map[string]any{
		"region": Region, "endpoints": map[string]any{"ec2": w.Front.URL, "sts": w.Front.URL},
		"ssh_host": "127.0.0.1", "ssh_port": w.Machine.Port(), "ssh_timeout": "10s",
		"temporary_security_group_source_cidrs": []string{"192.0.2.7/32"},
		"ami_name":                              "app-1", "poll_interval": "5ms", "poll_timeout": "30s", "max_retries": 3,
	}
	maps.Copy(c, more)
	return c
}

// Ran lists the commands that the machine was given.
func (w *World) Ran() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ran)
}

// Holdings lists what the account holds, images included, in both regions.
func (w *World) Holdings() []string {
	w.t.Helper()
	var lines []string
	server, _ := sharedMoto()
	for region := range w.EC2 {
		items, err := inventory.List(context.Background(), inventory.Config(server.URL, region))
		if err != nil {
			w.t.Fatal(err)
		}
		lines = append(lines, inventory.Lines(items)...)
		for _, i := range w.Images(region) {
			lines = append(lines, fmt.Sprintf("image %s %q in %s", aws.ToString(i.ImageId), aws.ToString(i.Name), region))
		}
	}
	return lines
}

// Images lists the account's images in a region.
func (w *World) Images(region string) []types.Image {
	w.t.Helper()
	out, err := w.EC2[region].DescribeImages(context.Background(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.Images
}

// Image returns the account's image of a name.
func (w *World) Image(region, name string) types.Image {
	w.t.Helper()
	for _, i := range w.Images(region) {
		if aws.ToString(i.Name) == name {
			return i
		}
	}
	w.t.Fatalf("no image %q in %s", name, region)
	return types.Image{}
}

// Difference lists the lines that only one of two holdings has.
func Difference(before, after []string) string {
	var lines []string
	for _, line := range after {
		if !slices.Contains(before, line) {
			lines = append(lines, "+ "+line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			lines = append(lines, "- "+line)
		}
	}
	return strings.Join(lines, "\n")
}
