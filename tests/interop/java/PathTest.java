import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.*;
import java.util.*;

/** `PathTest ROOT CRL… -- LEAF INTERMEDIATE…`: does Java's own validator accept the path, revocation lists included? */
public class PathTest {
    public static void main(String[] arguments) throws Exception {
        List<String> words = Arrays.asList(arguments);
        int middle = words.indexOf("--");
        CertificateFactory x509 = CertificateFactory.getInstance("X.509");
        List<X509Certificate> path = new ArrayList<>();
        for (String name : words.subList(middle + 1, words.size())) path.add((X509Certificate) read(x509, name));
        List<CRL> lists = new ArrayList<>();
        for (String name : words.subList(1, middle)) {
            try (FileInputStream in = new FileInputStream(name)) { lists.add(x509.generateCRL(in)); }
        }
        TrustAnchor root = new TrustAnchor((X509Certificate) read(x509, words.get(0)), null);
        PKIXParameters parameters = new PKIXParameters(Set.of(root));
        parameters.setRevocationEnabled(!lists.isEmpty());
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
        CertPathValidator.getInstance("PKIX").validate(x509.generateCertPath(path), parameters);
        System.out.println("valid: " + path.get(0).getSubjectX500Principal());
    }

    private static Certificate read(CertificateFactory x509, String name) throws Exception {
        try (FileInputStream in = new FileInputStream(name)) { return x509.generateCertificate(in); }
    }
}
