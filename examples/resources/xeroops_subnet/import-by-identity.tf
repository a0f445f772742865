import {
  to = xeroops_subnet.public
  identity = {
    id = "subnet-0a1b2c3d4e5f60718"
  }
}
