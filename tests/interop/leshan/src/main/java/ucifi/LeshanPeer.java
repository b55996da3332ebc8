package ucifi;

import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Arrays;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.leshan.core.endpoint.Protocol;
import org.eclipse.leshan.core.link.lwm2m.attributes.DefaultLwM2mAttributeParser;
import org.eclipse.leshan.core.link.lwm2m.attributes.LwM2mAttributeSet;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.node.LwM2mNode;
import org.eclipse.leshan.core.node.LwM2mObject;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.node.LwM2mResourceInstance;
import org.eclipse.leshan.core.node.LwM2mSingleResource;
import org.eclipse.leshan.core.node.ObjectLink;
import org.eclipse.leshan.core.node.TimestampedLwM2mNode;
import org.eclipse.leshan.core.node.TimestampedLwM2mNodes;
import org.eclipse.leshan.core.observation.CompositeObservation;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.observation.SingleObservation;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.CreateRequest;
import org.eclipse.leshan.core.request.DeleteRequest;
import org.eclipse.leshan.core.request.DiscoverRequest;
import org.eclipse.leshan.core.request.DownlinkDeviceManagementRequest;
import org.eclipse.leshan.core.request.ExecuteRequest;
import org.eclipse.leshan.core.request.ObserveRequest;
import org.eclipse.leshan.core.request.ReadRequest;
import org.eclipse.leshan.core.request.SendRequest;
import org.eclipse.leshan.core.request.WriteAttributesRequest;
import org.eclipse.leshan.core.request.WriteRequest;
import org.eclipse.leshan.core.response.CreateResponse;
import org.eclipse.leshan.core.response.DiscoverResponse;
import org.eclipse.leshan.core.response.LwM2mResponse;
import org.eclipse.leshan.core.response.ObserveCompositeResponse;
import org.eclipse.leshan.core.response.ObserveResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.LeshanServerBuilder;
import org.eclipse.leshan.server.model.VersionedModelProvider;
import org.eclipse.leshan.server.observation.ObservationListener;
import org.eclipse.leshan.server.registration.Registration;
import org.eclipse.leshan.server.registration.RegistrationListener;
import org.eclipse.leshan.server.registration.RegistrationUpdate;
import org.eclipse.leshan.server.send.SendListener;
import org.eclipse.leshan.transport.californium.server.endpoint.CaliforniumServerEndpointsProvider;
import org.eclipse.leshan.transport.californium.server.endpoint.coap.CoapServerProtocolProvider;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * A Leshan server that is driven by JSON lines: requests on standard input, answers and events on standard output.
 *
 * Arguments: the CoAP port and a folder with object models. Every value that the server receives is one line, with
 * its timestamp.
 */
public final class LeshanPeer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final LeshanServer server;

    private LeshanPeer(LeshanServer server) {
        this.server = server;
    }

    public static void main(String[] args) throws Exception {
        LeshanPeer peer = new LeshanPeer(build(Integer.parseInt(args[0]), new File(args[1])));
        peer.listen();
        peer.server.start();
        say(JSON.createObjectNode().put("event", "ready"));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            peer.serve(JSON.readTree(line));
        }
        peer.server.destroy();
    }

    private static LeshanServer build(int port, File models) {
        // The models under test come first: Leshan bundles older ones of the same objects.
        List<ObjectModel> definitions = ObjectLoader.loadAllDefault();
        definitions.addAll(ObjectLoader.loadObjectsFromDir(models, true));
        CaliforniumServerEndpointsProvider.Builder endpoints =
                new CaliforniumServerEndpointsProvider.Builder(new CoapServerProtocolProvider());
        Configuration configuration = endpoints.createDefaultConfiguration();
        configuration.set(CoapConfig.MAX_RESOURCE_BODY_SIZE, 1 << 20);
        endpoints.setConfiguration(configuration);
        endpoints.addEndpoint(new InetSocketAddress("127.0.0.1", port), Protocol.COAP);
        LeshanServerBuilder builder = new LeshanServerBuilder();
        builder.setObjectModelProvider(new VersionedModelProvider(definitions));
        builder.setEndpointsProviders(endpoints.build());
        return builder.build();
    }

    // ---- events ----

    private void listen() {
        server.getRegistrationService().addListener(new RegistrationListener() {
            @Override
            public void registered(Registration registration, Registration previous,
                    Collection<Observation> lost) {
                say(registrationEvent("registered", registration));
            }

            @Override
            public void updated(RegistrationUpdate update, Registration updated, Registration previous) {
                say(registrationEvent("updated", updated));
            }

            @Override
            public void unregistered(Registration registration, Collection<Observation> observations,
                    boolean expired, Registration next) {
                say(registrationEvent(expired ? "expired" : "deregistered", registration));
            }
        });
        server.getSendService().addListener(new SendListener() {
            @Override
            public void dataReceived(Registration registration, TimestampedLwM2mNodes data, SendRequest request) {
                for (Instant time : data.getTimestamps()) {
                    data.getNodesAt(time).forEach(
                            (path, node) -> received("send", registration.getEndpoint(), path, node, time));
                }
            }

            @Override
            public void onError(Registration registration, String message, Exception error) {
                say(JSON.createObjectNode().put("event", "send-error").put("reason", message + ": " + error));
            }
        });
        server.getObservationService().addListener(new Observations());
    }

    private final class Observations implements ObservationListener {
        @Override
        public void newObservation(Observation observation, Registration registration) {
        }

        @Override
        public void cancelled(Observation observation) {
        }

        @Override
        public void onResponse(SingleObservation observation, Registration registration, ObserveResponse response) {
            List<TimestampedLwM2mNode> series = response.getTimestampedLwM2mNodes();
            if (series == null || series.isEmpty()) {
                received("notification", registration.getEndpoint(), observation.getPath(), response.getContent(),
                        null);
                return;
            }
            for (TimestampedLwM2mNode node : series) {
                received("notification", registration.getEndpoint(), observation.getPath(), node.getNode(),
                        node.getTimestamp());
            }
        }

        @Override
        public void onResponse(CompositeObservation observation, Registration registration,
                ObserveCompositeResponse response) {
        }

        @Override
        public void onError(Observation observation, Registration registration, Exception error) {
            say(JSON.createObjectNode().put("event", "notification-error").put("reason", String.valueOf(error)));
        }
    }

    private static ObjectNode registrationEvent(String event, Registration registration) {
        ObjectNode line = JSON.createObjectNode().put("event", event);
        line.put("endpoint", registration.getEndpoint()).put("registration", registration.getId());
        line.put("port", registration.getPort()).put("lifetime", registration.getLifeTimeInSec());
        line.put("version", String.valueOf(registration.getLwM2mVersion()));
        ArrayNode links = line.putArray("links");
        Arrays.stream(registration.getObjectLinks()).forEach(link -> links.add(link.toCoreLinkFormat()));
        return line;
    }

    /** Writes one line for each resource value below a node. */
    private static void received(String event, String endpoint, LwM2mPath path, LwM2mNode node, Instant time) {
        ObjectNode values = JSON.createObjectNode();
        flatten(path, node, values);
        values.fields().forEachRemaining(value -> {
            ObjectNode line = JSON.createObjectNode().put("event", event).put("endpoint", endpoint);
            line.put("path", value.getKey());
            line.set("value", value.getValue());
            line.put("received_ms", System.currentTimeMillis());
            if (time != null) {
                line.put("time_ms", time.toEpochMilli());
            }
            say(line);
        });
    }

    // ---- requests ----

    private void serve(JsonNode request) {
        ObjectNode answer = JSON.createObjectNode().put("id", request.path("id").asLong());
        try {
            String endpoint = request.path("endpoint").asText();
            Registration registration = server.getRegistrationService().getByEndpoint(endpoint);
            if (registration == null) {
                answer.put("error", "no registration of " + endpoint);
            } else if (request.path("op").asText().equals("registration")) {
                answer.setAll(registrationEvent("registration", registration));
            } else {
                carryOut(request, registration, answer);
            }
        } catch (Exception error) {
            answer.put("error", error.toString());
        }
        say(answer);
    }

    private void carryOut(JsonNode request, Registration registration, ObjectNode answer) throws Exception {
        long timeout = request.path("timeout_ms").asLong(10_000);
        LwM2mResponse response = server.send(registration, downlink(request, registration), timeout);
        if (response == null) {
            answer.put("error", "no answer");
            return;
        }
        answer.put("code", response.getCode().getName().toString()).put("status", response.getCode().getCode());
        if (response.getErrorMessage() != null) {
            answer.put("diagnostic", response.getErrorMessage());
        }
        if (response.getCoapResponse() instanceof org.eclipse.californium.core.coap.Response coap) {
            answer.put("format", coap.getOptions().getContentFormat());
            if (coap.getOptions().getMaxAge() != null) {
                answer.put("max_age", coap.getOptions().getMaxAge());
            }
        }
        if (response instanceof DiscoverResponse discovered && discovered.isSuccess()) {
            ArrayNode links = answer.putArray("links");
            Arrays.stream(discovered.getObjectLinks()).forEach(link -> links.add(link.toCoreLinkFormat()));
        } else if (response instanceof CreateResponse created && created.isSuccess()) {
            answer.put("location", created.getLocation());
        } else if (response instanceof ReadResponse read && read.isSuccess()) {
            flatten(new LwM2mPath(request.path("path").asText()), read.getContent(), answer.putObject("values"));
        }
    }

    private DownlinkDeviceManagementRequest<? extends LwM2mResponse> downlink(JsonNode request,
            Registration registration) throws Exception {
        String path = request.path("path").asText();
        ContentFormat format = request.has("format") ? ContentFormat.fromName(request.path("format").asText()) : null;
        switch (request.path("op").asText()) {
        case "read":
            return new ReadRequest(format, path);
        case "observe":
            return new ObserveRequest(format, path);
        case "discover":
            return new DiscoverRequest(path);
        case "execute":
            return new ExecuteRequest(path);
        case "delete":
            return new DeleteRequest(path);
        case "attributes":
            return new WriteAttributesRequest(path, new LwM2mAttributeSet(
                    new DefaultLwM2mAttributeParser().parseUriQuery(request.path("query").asText())));
        case "create":
            return new CreateRequest(format, path, List.of());
        case "write":
            WriteRequest.Mode mode =
                    request.path("replace").asBoolean(true) ? WriteRequest.Mode.REPLACE : WriteRequest.Mode.UPDATE;
            return new WriteRequest(mode, format, path, node(new LwM2mPath(path), request.path("value"), registration));
        default:
            throw new IllegalArgumentException("unknown request " + request);
        }
    }

    /** Builds a resource from one JSON value, an instance from an object of them. */
    private LwM2mNode node(LwM2mPath path, JsonNode value, Registration registration) {
        if (path.isResource()) {
            return resource(path.getObjectId(), path.getResourceId(), value, registration);
        }
        List<LwM2mResource> resources = new java.util.ArrayList<>();
        value.fields().forEachRemaining(entry -> resources.add(
                resource(path.getObjectId(), Integer.parseInt(entry.getKey()), entry.getValue(), registration)));
        return new LwM2mObjectInstance(path.getObjectInstanceId(), resources);
    }

    private LwM2mResource resource(int object, int resource, JsonNode value, Registration registration) {
        ResourceModel model = server.getModelProvider().getObjectModel(registration).getResourceModel(object, resource);
        if (model == null) {
            throw new IllegalArgumentException("the server has no model of /" + object + "/*/" + resource);
        }
        switch (model.type) {
        case INTEGER:
            return LwM2mSingleResource.newIntegerResource(resource, value.asLong());
        case FLOAT:
            return LwM2mSingleResource.newFloatResource(resource, value.asDouble());
        case BOOLEAN:
            return LwM2mSingleResource.newBooleanResource(resource, value.asBoolean());
        case STRING:
            return LwM2mSingleResource.newStringResource(resource, value.asText());
        default:
            throw new IllegalArgumentException("cannot write a " + model.type);
        }
    }

    // ---- JSON ----

    private static void flatten(LwM2mPath path, LwM2mNode node, ObjectNode values) {
        if (node instanceof LwM2mObject object) {
            object.getInstances().values().forEach(i -> flatten(path.append(i.getId()), i, values));
        } else if (node instanceof LwM2mObjectInstance instance) {
            instance.getResources().values().forEach(r -> flatten(path.append(r.getId()), r, values));
        } else if (node instanceof LwM2mResource resource && resource.isMultiInstances()) {
            resource.getInstances().values().forEach(i -> flatten(path.append(i.getId()), i, values));
        } else if (node instanceof LwM2mResource resource) {
            put(values, path, resource.getValue());
        } else if (node instanceof LwM2mResourceInstance instance) {
            put(values, path, instance.getValue());
        }
    }

    private static void put(ObjectNode values, LwM2mPath path, Object value) {
        if (value instanceof Long number) {
            values.put(path.toString(), number);
        } else if (value instanceof Double number) {
            values.put(path.toString(), number);
        } else if (value instanceof Boolean flag) {
            values.put(path.toString(), flag);
        } else if (value instanceof byte[] bytes) {
            values.put(path.toString(), HexFormat.of().formatHex(bytes));
        } else if (value instanceof java.util.Date time) {
            values.put(path.toString(), time.getTime() / 1000);
        } else if (value instanceof ObjectLink link) {
            values.put(path.toString(), link.getObjectId() + ":" + link.getObjectInstanceId());
        } else {
            values.put(path.toString(), String.valueOf(value));
        }
    }

    private static synchronized void say(ObjectNode line) {
        OUT.println(line);
    }
}
