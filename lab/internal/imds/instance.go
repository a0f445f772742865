package imds

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Instance is the metadata of an instance.
type Instance struct {
	ID               string
	ImageID          string
	Type             string
	Architecture     string // of EC2: x86_64 or arm64
	AccountID        string
	Region           string
	AvailabilityZone string
	ReservationID    string
	LaunchTime       time.Time
	PrivateAddress   netip.Addr
	PublicAddress    netip.Addr // invalid without one
	MAC              string
	InterfaceID      string
	SubnetID         string
	SubnetCIDR       string
	VPCID            string
	VPCCIDR          string
	SecurityGroups   map[string]string // id to name
	KeyName          string
	PublicKey        string // authorized_keys line
	ProfileARN       string // empty without an instance profile
	RoleARN          string
	UserData         []byte
	Devices          map[string]string // volume id to device name, without the root volume
	Tags             map[string]string // nil unless instance tags in metadata are on
	Options          Options
}

// Options are the instance's metadata options.
type Options struct {
	Disabled       bool // HttpEndpoint is disabled
	TokenRequired  bool // HttpTokens is required: IMDSv2 only
	TokenHopLimit  int  // 1 to 64
	CredentialLife time.Duration
}

func (i Instance) hostname() string {
	name := "ip-" + strings.ReplaceAll(i.PrivateAddress.String(), ".", "-")
	if i.Region == "us-east-1" {
		return name + ".ec2.internal"
	}
	return name + "." + i.Region + ".compute.internal"
}

func (i Instance) roleName() string { return i.RoleARN[strings.LastIndex(i.RoleARN, "/")+1:] }

// document returns the instance identity document. Like EC2's, it has null for fields
// that don't apply.
func (i Instance) document() string {
	b, err := json.MarshalIndent(map[string]any{
		"accountId": i.AccountID, "architecture": i.Architecture, "availabilityZone": i.AvailabilityZone,
		"billingProducts": nil, "devpayProductCodes": nil, "marketplaceProductCodes": nil,
		"imageId": i.ImageID, "instanceId": i.ID, "instanceType": i.Type, "kernelId": nil,
		"pendingTime": i.LaunchTime.UTC().Format(time.RFC3339), "privateIp": i.PrivateAddress.String(),
		"ramdiskId": nil, "region": i.Region, "version": "2017-09-30",
	}, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("marshal instance identity document: %v", err)) // strings and nulls always marshal
	}
	return string(b)
}

// tree returns all values by their path below /latest/, except credentials.
func (i Instance) tree() map[string]string {
	t := map[string]string{
		"dynamic/instance-identity/document":    i.document(),
		"meta-data/ami-id":                      i.ImageID,
		"meta-data/ami-launch-index":            "0",
		"meta-data/ami-manifest-path":           "(unknown)",
		"meta-data/hostname":                    i.hostname(),
		"meta-data/instance-action":             "none",
		"meta-data/instance-id":                 i.ID,
		"meta-data/instance-life-cycle":         "on-demand",
		"meta-data/instance-type":               i.Type,
		"meta-data/local-hostname":              i.hostname(),
		"meta-data/local-ipv4":                  i.PrivateAddress.String(),
		"meta-data/mac":                         i.MAC,
		"meta-data/placement/availability-zone": i.AvailabilityZone,
		"meta-data/placement/region":            i.Region,
		"meta-data/profile":                     "default-hvm",
		"meta-data/reservation-id":              i.ReservationID,
		"meta-data/security-groups":             strings.Join(sortedValues(i.SecurityGroups), "\n"),
		"meta-data/services/domain":             "amazonaws.com",
		"meta-data/services/partition":          "aws",
		"meta-data/block-device-mapping/ami":    "/dev/xvda",
		"meta-data/block-device-mapping/root":   "/dev/xvda",
	}
	for n, volume := range sortedKeys(i.Devices) {
		t["meta-data/block-device-mapping/ebs"+strconv.Itoa(n+1)] = i.Devices[volume]
	}
	for key, value := range i.Tags {
		t["meta-data/tags/instance/"+key] = value
	}
	if i.PublicAddress.IsValid() {
		t["meta-data/public-ipv4"] = i.PublicAddress.String()
	}
	if i.PublicKey != "" {
		t["meta-data/public-keys/0/openssh-key"] = i.PublicKey
	}
	if len(i.UserData) > 0 {
		t["user-data"] = string(i.UserData)
	}
	i.addInterface(t)
	return t
}

func (i Instance) addInterface(t map[string]string) {
	p := "meta-data/network/interfaces/macs/" + i.MAC + "/"
	t[p+"device-number"] = "0"
	t[p+"interface-id"] = i.InterfaceID
	t[p+"local-hostname"] = i.hostname()
	t[p+"local-ipv4s"] = i.PrivateAddress.String()
	t[p+"mac"] = i.MAC
	t[p+"owner-id"] = i.AccountID
	t[p+"security-group-ids"] = strings.Join(sortedKeys(i.SecurityGroups), "\n")
	t[p+"security-groups"] = strings.Join(sortedValues(i.SecurityGroups), "\n")
	t[p+"subnet-id"] = i.SubnetID
	t[p+"subnet-ipv4-cidr-block"] = i.SubnetCIDR
	t[p+"vpc-id"] = i.VPCID
	t[p+"vpc-ipv4-cidr-block"] = i.VPCCIDR
	t[p+"vpc-ipv4-cidr-blocks"] = i.VPCCIDR
	if i.PublicAddress.IsValid() {
		t[p+"public-ipv4s"] = i.PublicAddress.String()
		t[p+"ipv4-associations/"+i.PublicAddress.String()] = i.PrivateAddress.String()
	}
}

// listing returns the entries of a directory of the tree, directories with a trailing
// slash. It reports false if there are none.
func (i Instance) listing(tree map[string]string, dir string) (string, bool) {
	if dir == "meta-data/public-keys" && i.PublicKey != "" {
		return "0=" + i.KeyName, true
	}
	names := map[string]string{}
	for path := range tree {
		rest, below := strings.CutPrefix(path, dir+"/")
		if dir == "" {
			rest, below = path, true
		}
		if !below {
			continue
		}
		name, _, isFolder := strings.Cut(rest, "/")
		if isFolder {
			name += "/"
		}
		names[name] = name
	}
	return strings.Join(sortedKeys(names), "\n"), len(names) > 0
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func sortedValues(m map[string]string) []string {
	values := make([]string, 0, len(m))
	for _, v := range m {
		values = append(values, v)
	}
	sort.Strings(values)
	return values
}
