package ebs

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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/awsfront"
	"github.com/xeroops/xeroops/internal/awsfront/inventory"
	"github.com/xeroops/xeroops/internal/awsfront/mend"
	"github.com/xeroops/xeroops/internal/motoserver"
	"github.com/xeroops/xeroops/packer-plugin/internal/sshmachine"
)

const region, otherRegion = "eu-west-1", "eu-central-1"

// moto is shared by the package's tests; each begins with a reset.
var moto = sync.OnceValues(func() (*motoserver.Server, error) {
	return motoserver.Start(context.Background(), motoserver.Options{})
})

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // the SDK tells every SSH command
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": region,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if server, err := moto(); err == nil {
		server.Stop()
	}
	os.Exit(code)
}

// rig is an account behind a front, and a machine to log in to: an SSH server
// that has the host key from the instance's user-data.
type rig struct {
	t       *testing.T
	front   *awsfront.Front
	ec2     map[string]*ec2.Client // straight to moto, by region
	machine *sshmachine.Machine
	record  string // content of image.json
	output  string
	ran     []string // commands
	mu      sync.Mutex
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := moto()
	if errors.Is(err, motoserver.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	short := 10 * time.Millisecond
	front, err := awsfront.Start(awsfront.Options{Upstream: server.URL, Mends: mend.All(mend.Options{PendingFor: short})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	r := &rig{t: t, front: front, ec2: map[string]*ec2.Client{}}
	for _, region := range []string{region, otherRegion} {
		r.ec2[region] = ec2.NewFromConfig(inventory.Config(server.URL, region))
	}
	r.machine, err = sshmachine.Start(r.hostKey, r.run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.machine.Close)
	return r
}

// hostKey reads the machine's host key where cloud-init would: in the
// user-data of the one instance that runs.
func (r *rig) hostKey() (ssh.Signer, error) {
	ctx, client := context.Background(), r.ec2[region]
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{filter("instance-state-name", "running")}})
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

func (r *rig) run(command string, _ io.Reader, out, _ io.Writer) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran = append(r.ran, command)
	if strings.Contains(command, "image.json") {
		_, _ = io.WriteString(out, r.record)
	}
	return 0
}

// config is one that works; more overrides it.
func (r *rig) config(more map[string]any) map[string]any {
	c := map[string]any{
		"region": region, "endpoints": map[string]any{"ec2": r.front.URL, "sts": r.front.URL},
		"ssh_host": "127.0.0.1", "ssh_port": r.machine.Port(), "ssh_timeout": "10s",
		"temporary_security_group_source_cidrs": []string{"192.0.2.7/32"},
		"ami_name":                              "app-1", "poll_interval": "5ms", "poll_timeout": "30s", "max_retries": 3,
	}
	maps.Copy(c, more)
	return c
}

// build runs a build.
func (r *rig) build(ctx context.Context, more map[string]any) (packersdk.Artifact, error) {
	r.t.Helper()
	var b Builder
	if _, _, err := b.Prepare(r.config(more)); err != nil {
		r.t.Fatal(err)
	}
	ui := &packersdk.MockUi{}
	artifact, err := b.Run(ctx, ui, &packersdk.MockHook{})
	r.output = fmt.Sprintf("%v\n%v", ui.SayMessages, ui.ErrorMessage)
	return artifact, err
}

// holdings lists what the account holds, images included, in both regions.
func (r *rig) holdings() []string {
	r.t.Helper()
	var lines []string
	server, _ := moto()
	for region, client := range r.ec2 {
		items, err := inventory.List(context.Background(), inventory.Config(server.URL, region))
		if err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, inventory.Lines(items)...)
		for _, i := range r.images(client) {
			lines = append(lines, fmt.Sprintf("image %s %q in %s", aws.ToString(i.ImageId), aws.ToString(i.Name), region))
		}
	}
	return lines
}

func (r *rig) images(client *ec2.Client) []types.Image {
	r.t.Helper()
	out, err := client.DescribeImages(context.Background(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Images
}

// image returns the account's image of a name.
func (r *rig) image(region, name string) types.Image {
	r.t.Helper()
	for _, i := range r.images(r.ec2[region]) {
		if aws.ToString(i.Name) == name {
			return i
		}
	}
	r.t.Fatalf("no image %q in %s", name, region)
	return types.Image{}
}
