/** What an Ethernet header says that its frame carries. */
export const etherType = Object.freeze({
  IPV4: 0x0800,
  ARP: 0x0806,
  BRIDGED: 0x6558,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  SERVICE_VLAN: 0x88a8,
} as const);

/** Numbers of protocols over IP, from IANA's list. */
export const ipProtocol = Object.freeze({
  HOP_BY_HOP: 0,
  ICMP: 1,
  IGMP: 2,
  IPV4: 4,
  TCP: 6,
  UDP: 17,
  IPV6: 41,
  ROUTING: 43,
  FRAGMENT: 44,
  GRE: 47,
  ESP: 50,
  ICMPV6: 58,
  NO_NEXT_HEADER: 59,
  DESTINATION_OPTIONS: 60,
} as const);

/** Bytes of an Ethernet header without tags, of the shortest header of IPv4, and of IPv6's. */
export const ethernetHeader = 14;
export const ipv4Header = 20;
export const ipv6Header = 40;

/** The most that an IP packet says of its own length, in bytes. */
export const largestPacket = 65_535;
