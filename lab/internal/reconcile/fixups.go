//go:build linux

package reconcile

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/xeroops/xeroops/internal/fakeaws"
)

// Fixups returns the front's middlewares that connect the API to the machines. They
// must come before the fixups that only correct moto, so that they see the final
// response.
func (r *Reconciler) Fixups() []fakeaws.Fixup {
	return []fakeaws.Fixup{
		{Name: "lab-trigger", New: func() fakeaws.Middleware { return r.followMutations }},
		{Name: "lab-volumes", New: func() fakeaws.Middleware { return r.refuseVolumesInUse }},
		{Name: "lab-states", New: func() fakeaws.Middleware { return r.showStates }},
		{Name: "lab-image-volumes", New: func() fakeaws.Middleware { return r.addImageVolumes }},
		{Name: "lab-addresses", New: publicAddresses},
		{Name: "lab-default-subnet", New: func() fakeaws.Middleware { return r.chooseSubnet }},
	}
}

// IsOn reports whether an instance's machine is on.
func (r *Reconciler) IsOn(instanceID string) bool {
	r.mu.Lock()
	i := r.instances[instanceID]
	r.mu.Unlock()
	return i != nil && i.on() != nil
}

// followMutations triggers a reconciliation after each mutating call. Calls that copy
// a disk, or leave no trace in the account, take effect before it responds.
func (r *Reconciler) followMutations(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		res, err := next(c)
		if err != nil || res.StatusCode >= 300 || !c.Mutating() {
			return res, err
		}
		if c.Is(fakeaws.IAM, "AddRoleToInstanceProfile", "RemoveRoleFromInstanceProfile", "CreateRole", "DeleteRole") {
			r.forgetRoles()
		}
		if c.Service != fakeaws.EC2 {
			return res, nil
		}
		defer r.Trigger()
		body, err := fakeaws.Body(res)
		if err != nil {
			return nil, err
		}
		if err := r.follow(c, string(body)); err != nil {
			r.Log.Error("applying an API call to the machines failed", "action", c.Action, "error", err)
			return c.Error(http.StatusBadRequest, "InternalError", "xeroops-lab: "+err.Error()), nil
		}
		return res, nil
	}
}

// follow applies a successful call to the machines and their disks.
func (r *Reconciler) follow(c *fakeaws.Call, answer string) error {
	ctx := c.Context()
	switch c.Action {
	case "RebootInstances":
		for n := 1; c.Params.Has(fmt.Sprintf("InstanceId.%d", n)); n++ {
			if err := r.reboot(ctx, c.Params.Get(fmt.Sprintf("InstanceId.%d", n))); err != nil {
				return err
			}
		}
	case "DetachVolume":
		if c.Params.Get("Force") == "true" {
			r.mu.Lock()
			r.forced[c.Params.Get("VolumeId")] = true
			r.mu.Unlock()
		}
	case "AttachVolume":
		r.mu.Lock()
		delete(r.forced, c.Params.Get("VolumeId"))
		r.mu.Unlock()
	case "CreateImage":
		return r.captureImage(ctx, c.Params.Get("InstanceId"), element(answer, "imageId"), c.Params.Get("NoReboot") != "true")
	case "CopyImage":
		r.copied(element(answer, "imageId"), c.Params.Get("SourceImageId"))
	case "RegisterImage":
		for n := 1; n <= len(c.Params); n++ {
			r.copied(element(answer, "imageId"), c.Params.Get(fmt.Sprintf("BlockDeviceMapping.%d.Ebs.SnapshotId", n)))
		}
	case "DeregisterImage":
		r.drop(c.Params.Get("ImageId"))
	case "CreateSnapshot":
		return r.snapshot(ctx, c.Params.Get("VolumeId"), element(answer, "snapshotId"))
	case "DeleteSnapshot":
		r.drop(c.Params.Get("SnapshotId"))
		return r.Volumes.DeleteSnapshot(c.Params.Get("SnapshotId"))
	}
	return nil
}

// element returns the text of the first element with the given name.
func element(xml, name string) string {
	_, after, _ := strings.Cut(xml, "<"+name+">")
	text, _, _ := strings.Cut(after, "</"+name+">")
	return text
}

// refuseVolumesInUse rejects attaching or deleting a volume that a machine still has,
// although moto considers it detached.
func (r *Reconciler) refuseVolumesInUse(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		if !c.Is(fakeaws.EC2, "AttachVolume", "DeleteVolume") {
			return next(c)
		}
		id := c.Params.Get("VolumeId")
		r.mu.Lock()
		user := r.userOf(id)
		r.mu.Unlock()
		if user == "" {
			return next(c)
		}
		if c.Action == "AttachVolume" {
			return c.Error(http.StatusBadRequest, "VolumeInUse", id+" is already attached to an instance"), nil
		}
		return c.Error(http.StatusBadRequest, "VolumeInUse", "Volume "+id+" is currently attached to "+user), nil
	}
}

// showStates replaces the states of instances and volume attachments in responses by
// the machines' actual ones. Moto's change to the final state at once.
func (r *Reconciler) showStates(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		res, err := next(c)
		if err != nil || res.StatusCode >= 300 || !c.Is(fakeaws.EC2, "DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes") {
			return res, err
		}
		body, err := fakeaws.Body(res)
		if err != nil {
			return nil, err
		}
		text := string(body)
		switch c.Action {
		case "DescribeInstances":
			text = r.withInstanceStates(text)
		case "DescribeInstanceStatus":
			text = r.withStatusChecks(text)
		case "DescribeVolumes":
			text = r.withAttachments(text)
		}
		fakeaws.SetBody(res, []byte(text))
		return res, nil
	}
}

// instanceState matches an instance's id and state. Moto's XML has no white space.
var instanceState = regexp.MustCompile(`(?s)<instanceId>(i-[0-9a-f]+)</instanceId><imageId>.*?<instanceState><code>\d+</code><name>([a-z-]+)</name></instanceState>`)

var stateCodes = map[types.InstanceStateName]int{
	types.InstanceStateNamePending: 0, types.InstanceStateNameRunning: 16, types.InstanceStateNameShuttingDown: 32,
	types.InstanceStateNameTerminated: 48, types.InstanceStateNameStopping: 64, types.InstanceStateNameStopped: 80,
}

func (r *Reconciler) withInstanceStates(answer string) string {
	return instanceState.ReplaceAllStringFunc(answer, func(found string) string {
		match := instanceState.FindStringSubmatch(found)
		r.mu.Lock()
		i := r.instances[match[1]]
		r.mu.Unlock()
		if i == nil {
			return found
		}
		state := i.state(types.InstanceStateName(match[2]))
		head, _, _ := strings.Cut(found, "<instanceState>")
		return head + fmt.Sprintf("<instanceState><code>%d</code><name>%s</name></instanceState>", stateCodes[state], state)
	})
}

// withStatusChecks sets the status checks of instances that are still booting to
// initializing.
func (r *Reconciler) withStatusChecks(answer string) string {
	items := strings.Split(answer, "<instanceId>")
	for n, item := range items[1:] {
		id, _, _ := strings.Cut(item, "<")
		r.mu.Lock()
		i := r.instances[id]
		r.mu.Unlock()
		if i != nil && !i.isUp() {
			items[n+1] = strings.ReplaceAll(item, "<status>ok</status>", "<status>initializing</status>")
		}
	}
	return strings.Join(items, "<instanceId>")
}

// withAttachments sets a volume's attachment to attaching until the machine has the
// volume, and to detaching while the machine still has it. In the response, items of
// attachments are nested in items of volumes; both begin with the volume's id.
func (r *Reconciler) withAttachments(answer string) string {
	items := strings.SplitAfter(answer, "<item>")
	for n, item := range items {
		id := element(item, "volumeId")
		user := element(item, "instanceId")
		r.mu.Lock()
		has := r.userOf(id)
		i := r.instances[user]
		r.mu.Unlock()
		if i != nil && i.on() != nil && has != user && !isRootDevice(element(item, "device")) {
			items[n] = strings.Replace(item, "<status>attached</status>", "<status>attaching</status>", 1)
		}
		if has != "" && strings.Contains(item, "<status>available</status>") {
			detaching := fmt.Sprintf("<attachmentSet><item><volumeId>%s</volumeId><instanceId>%s</instanceId><status>detaching</status></item></attachmentSet>", id, has)
			items[n] = strings.NewReplacer("<status>available</status>", "<status>in-use</status>", "<attachmentSet/>", detaching).Replace(item)
		}
	}
	return strings.Join(items, "")
}

// chooseSubnet adds a default subnet to launches without one. Moto would give the
// instance an address that is in no subnet.
func (r *Reconciler) chooseSubnet(next fakeaws.Handler) fakeaws.Handler {
	return func(c *fakeaws.Call) (*http.Response, error) {
		const primary = "NetworkInterface.1."
		if !c.Is(fakeaws.EC2, "RunInstances") || c.Params.Has("SubnetId") || c.Params.Has(primary+"SubnetId") || c.Params.Has(primary+"NetworkInterfaceId") {
			return next(c)
		}
		key := "SubnetId"
		if c.Params.Has(primary + "DeviceIndex") {
			key = primary + key
		}
		if subnet := r.defaultSubnet(c.Params.Get("Placement.AvailabilityZone")); subnet != "" {
			params := c.Params
			params.Set(key, subnet)
			c.SetParams(params)
		}
		return next(c)
	}
}

// defaultSubnet returns the id of the default subnet of a zone, or of the first zone
// if zone is empty.
func (r *Reconciler) defaultSubnet(zone string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found types.Subnet
	for _, s := range r.account.subnets {
		if !aws.ToBool(s.DefaultForAz) || zone != "" && aws.ToString(s.AvailabilityZone) != zone {
			continue
		}
		if found.SubnetId == nil || aws.ToString(s.AvailabilityZone) < aws.ToString(found.AvailabilityZone) {
			found = s
		}
	}
	return aws.ToString(found.SubnetId)
}

// publicAddresses allocates elastic IP addresses that can be routed, unlike moto's,
// which are in 127.0.0.0/8.
func publicAddresses() fakeaws.Middleware {
	var mu sync.Mutex
	next := elasticRange.Addr()
	return func(handle fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if !c.Is(fakeaws.EC2, "AllocateAddress") || c.Params.Has("Address") {
				return handle(c)
			}
			mu.Lock()
			next = next.Next()
			if !elasticRange.Contains(next) {
				next = elasticRange.Addr().Next()
			}
			params := c.Params
			params.Set("Address", next.String())
			mu.Unlock()
			c.SetParams(params)
			return handle(c)
		}
	}
}

// elasticRange is TEST-NET-2 (RFC 5737), which is not used on the internet.
var elasticRange = netip.MustParsePrefix("198.51.100.0/24")
