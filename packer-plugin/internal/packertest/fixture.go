// Package packertest is the fixture of the plugin's tests: an AWS account in
// moto behind the fakeaws proxy, and an SSH server in place of the instance.
package packertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
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
	"github.com/xeroops/xeroops/internal/testkit/mototest"
	"github.com/xeroops/xeroops/packer-plugin/internal/sshmachine"
)

// The regions of the account.
const Region, OtherRegion = "eu-west-1", "eu-central-1"

// Main runs a package's tests.
func Main(m *testing.M) {
	log.SetOutput(io.Discard) // the SDK logs every SSH command
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": Region,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(mototest.Main(m))
}

// Fixture is an account behind the fakeaws proxy, and an SSH server that has
// the host key from the instance's user-data.
type Fixture struct {
	Front   *fakeaws.Front
	EC2     map[string]*ec2.Client // directly to moto, by region
	Machine *sshmachine.Machine
	Record  string // content of the instance's image.json
	// Status, if set, is called for each command of the build on the instance and
	// returns its exit status.
	Status func(command string) int

	t   *testing.T
	mu  sync.Mutex
	ran []string
}

// New empties the account. It skips the test if moto is not installed.
func New(t *testing.T) *Fixture {
	t.Helper()
	return NewWith(t, fixups.Options{PendingFor: 10 * time.Millisecond})
}

// NewWith is New with other options for the behaviour of AWS, and fixups that are
// applied before those of o.
func NewWith(t *testing.T, o fixups.Options, first ...fakeaws.Fixup) *Fixture {
	t.Helper()
	server := mototest.Empty(t)
	front, err := fakeaws.Start(fakeaws.Options{Upstream: server.URL, Fixups: append(first, fixups.All(o)...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	f := &Fixture{t: t, Front: front, EC2: map[string]*ec2.Client{}}
	for _, region := range []string{Region, OtherRegion} {
		f.EC2[region] = ec2.NewFromConfig(inventory.Config(server.URL, region))
	}
	f.Machine, err = sshmachine.Start(f.hostKey, f.Run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Machine.Close)
	return f
}

// hostKey reads the host key from where cloud-init would: the user-data of the
// only running instance.
func (f *Fixture) hostKey() (ssh.Signer, error) {
	ctx, client := context.Background(), f.EC2[Region]
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"running"}}}})
	if err != nil || len(out.Reservations) == 0 {
		return nil, fmt.Errorf("no running instance: %w", err)
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
		return nil, fmt.Errorf("user-data does not begin with #cloud-config: %s", text)
	}
	if err := json.Unmarshal([]byte(body), &config); err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey([]byte(config.Keys["ed25519_private"]))
}

// Run answers a command of the build as a healthy instance would, or as Status does.
func (f *Fixture) Run(command string, _ io.Reader, out, _ io.Writer) int {
	f.mu.Lock()
	f.ran = append(f.ran, command)
	if strings.Contains(command, "image.json") {
		_, _ = io.WriteString(out, f.Record)
	}
	f.mu.Unlock()
	if f.Status == nil {
		return 0
	}
	return f.Status(command)
}

// Config returns a valid configuration of the builder; more overrides it.
func (f *Fixture) Config(more map[string]any) map[string]any {
	c := map[string]any{
		"region": Region, "endpoints": map[string]any{"ec2": f.Front.URL, "iam": f.Front.URL, "sts": f.Front.URL},
		"ssh_host": "127.0.0.1", "ssh_port": f.Machine.Port(), "ssh_timeout": "10s",
		"temporary_security_group_source_cidrs": []string{"192.0.2.7/32"},
		"ami_name":                              "app-1", "poll_interval": "5ms", "poll_timeout": "30s", "max_retries": 3,
	}
	maps.Copy(c, more)
	return c
}

// Ran returns the commands that the instance was given.
func (f *Fixture) Ran() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ran)
}

// Holdings lists the account's resources in both regions, images included.
func (f *Fixture) Holdings() []string {
	f.t.Helper()
	var lines []string
	server := mototest.Shared(f.t)
	for region := range f.EC2 {
		items, err := inventory.List(context.Background(), inventory.Config(server.URL, region))
		if err != nil {
			f.t.Fatal(err)
		}
		lines = append(lines, inventory.Lines(items)...)
		for _, i := range f.Images(region) {
			lines = append(lines, fmt.Sprintf("image %s %q in %s", aws.ToString(i.ImageId), aws.ToString(i.Name), region))
		}
	}
	return lines
}

// Images returns the account's images in a region.
func (f *Fixture) Images(region string) []types.Image {
	f.t.Helper()
	out, err := f.EC2[region].DescribeImages(context.Background(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Images
}

// Image returns the account's image with that name.
func (f *Fixture) Image(region, name string) types.Image {
	f.t.Helper()
	for _, i := range f.Images(region) {
		if aws.ToString(i.Name) == name {
			return i
		}
	}
	f.t.Fatalf("no image %q in %s", name, region)
	return types.Image{}
}

// Difference lists the lines that are in only one of two holdings.
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
