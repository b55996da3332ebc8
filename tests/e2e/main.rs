//! Whole-gateway runs in simulated time: one file a flow.
//!
//! The units, the line, the network and the server are those of `ucifi-sim`; everything between is the gateway's own.

mod a_bad_network_only_takes_time;
mod a_clock_is_set_late_or_jumps;
mod a_faulty_serial_port;
mod a_lamp_joins_over_udp;
mod a_meter_poll_becomes_readings;
mod a_restart_goes_on;
mod a_silent_unit_costs_its_own_share_only;
mod a_write_switches_a_relay;
mod an_mqtt_plug_is_heard_and_switched;
mod each_model_has_its_versions_and_units;
mod hostile_datagrams_change_nothing;
mod readings_survive_power_cuts;
mod spoilt_replies_never_become_values;
mod the_server_forgets_or_falls_silent;
mod what_is_observed_arrives_without_send;

mod meter;
mod one_endpoint_is_refused_for_a_week;
mod power;
